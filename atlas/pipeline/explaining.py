"""Explaining single pictures by a finished atlas."""

from collections.abc import Callable, Sequence
from pathlib import Path

from atlas import vlm
from atlas.data.labels import match_labels
from atlas.errors import UserError
from atlas.explain.background import Background
from atlas.explain.explaining import Explainer, Outcome, image_files
from atlas.explain.gathering import Subject
from atlas.explain.narrative.compose import Writer
from atlas.pipeline.inputs import Inputs, check_weights
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Explain, Recipe
from atlas.relevance.engine import PREDICTED
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.store import Store
from atlas.store.evidence import EXPLANATIONS
from atlas.vlm import language


def explain(
    store: Store,
    recipe: Recipe,
    images: Sequence[Path],
    target: str | None,
    border: Border = OWN,
    labelled: Path | None = None,
) -> Outcome:
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
    border : Border
        What of the recipe may be opened.
    labelled : Path, optional
        A folder, beside that of the data, whose folders have the names of classes: by these it is
        known whether the network is right about the pictures in them.

    Raises
    ------
    UserError
        The atlas is not finished, its network is another one now, or there is no such class.
    """
    background = Background(store)
    label = PREDICTED if target is None else background.label(target)
    paths = [path for given in images for path in image_files(given)]
    border.check(recipe, "explain.vlm", "explain.writer", "explain.judge")
    inputs = Inputs(recipe, border=border)
    network = inputs.network
    check_weights(store, network)
    rules = plan(network.trace, recipe.relevance.composite)
    layers = [
        name
        for name in background.choose(recipe.explain.layers)
        if network.trace.layers[name].value in rules.reached
    ]
    model = instrument(network.module, rules, layers)
    subject = Subject(model, tuple(layers), background, recipe.explain)
    explainer = Explainer(
        subject,
        network.preprocessing,
        network.device,
        store.root / EXPLANATIONS,
        _labels(recipe, background.classes, labelled),
        vlm=_seeing(recipe.explain.vlm),
        writer=_writer(recipe.explain),
    )
    return explainer(paths, label)


def _labels(
    recipe: Recipe, classes: Sequence[str], labelled: Path | None
) -> Callable[[Path], int | None]:
    """Return what tells by a picture's class folder which output is right; None where none is."""
    kind, _, name = recipe.data.source.partition(":")
    own = Path(name) if kind == "folder" and not recipe.data.labels else None
    roots = [root.resolve() for root in (labelled, own) if root is not None]

    def label(path: Path) -> int | None:
        for root in roots:
            if path.resolve().is_relative_to(root):
                first, *rest = path.resolve().relative_to(root).parts
                return match_labels([first], classes)[0] if rest else None
        return None

    return label


def _seeing(name: str) -> vlm.Vlm | None:
    """Load the model that looks at heat maps; none without a name."""
    return vlm.load(vlm.Loading(name, max_tokens=80)) if name else None


def _writer(settings: Explain) -> Writer | None:
    """Load the model that chooses what is said, and the one that judges its words."""
    if not settings.writer:
        if settings.judge:
            raise UserError("explain.judge judges what explain.writer writes: name a writer too")
        return None
    writer = language.load(vlm.Loading(settings.writer, max_tokens=2000))
    if settings.judge == settings.writer:
        return Writer(writer, writer)
    judge = language.load(vlm.Loading(settings.judge)) if settings.judge else None
    return Writer(writer, judge)
