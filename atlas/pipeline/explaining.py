"""Explaining single pictures by a finished atlas."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from atlas import vlm
from atlas.explain.background import Background
from atlas.explain.conditional import FusedPropagator, Propagator, ZennitPropagator
from atlas.explain.gathering import Subject
from atlas.explain.run import Explainer, Outcome, image_files
from atlas.model import canonize
from atlas.pipeline.inputs import Inputs, check_weights
from atlas.recipe import Recipe
from atlas.relevance import fused
from atlas.relevance.engine import PREDICTED, composite_named
from atlas.relevance.fused import FusedEngine
from atlas.store import Store
from atlas.store.evidence import EXPLANATIONS


def explain(store: Store, recipe: Recipe, images: Sequence[Path], target: str | None) -> Outcome:
    """Explain pictures by a finished atlas.

    Parameters
    ----------
    store : Store
        The atlas.
    recipe : Recipe
        By which it was made; of its table `[explain]` anything may have changed.
    images : sequence of Path
        Image files, and folders of them.
    target : str, optional
        Name or number of the class to explain; the predicted one unless given.

    Raises
    ------
    UserError
        The atlas is not finished, its network is another one now, or there is no such class.
    """
    background = Background(store)
    label = PREDICTED if target is None else background.label(target)
    paths = [path for given in images for path in image_files(given)]
    inputs = Inputs(recipe)
    network, composite = inputs.network, recipe.relevance.composite
    check_weights(store, network)
    layers = background.choose(recipe.explain.layers)
    canonizers = canonize.canonizers(network.module)
    propagator: Propagator
    if reason := fused.unsupported(network.module, composite):
        tqdm.write(f"relevance by zennit, which is slower: the fast way lacks {reason}", sys.stderr)
        rules = composite_named(composite, canonizers)
        propagator = ZennitPropagator(network.module, layers, rules)
    else:
        side = network.preprocessing.crop
        engine = FusedEngine(network.module, layers, composite, canonizers, side)
        propagator = FusedPropagator(engine, network.module, layers)
    subject = Subject(network.module, propagator, layers, background, recipe.explain)
    explainer = Explainer(
        subject,
        network.preprocessing,
        network.device,
        store.root / EXPLANATIONS,
        vlm=_asked(recipe.explain.vlm, max_tokens=80),
        writer=_asked(recipe.explain.writer, max_tokens=2000),
    )
    return explainer(paths, label)


def _asked(name: str, max_tokens: int) -> vlm.Vlm | None:
    """Load a model that explanations ask; none without a name."""
    return vlm.load(vlm.Loading(name, max_tokens=max_tokens)) if name else None
