"""Explaining single pictures by a finished atlas."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc

from atlas import vlm
from atlas.data.labels import match_labels
from atlas.errors import UserError
from atlas.explain.background import Background
from atlas.explain.counterfactuals import Asked, ConceptLayer, RealPicture, real_picture
from atlas.explain.explaining import Explainer, Outcome, image_files
from atlas.explain.gathering import Subject
from atlas.explain.narrative.compose import Writer
from atlas.factors.concepts import FactorConcepts
from atlas.model.networks import Network
from atlas.pipeline.auditing import check_names, other_maps
from atlas.pipeline.inputs import Inputs, check_weights
from atlas.pipeline.models import ModelOf, explaining
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Explain, Recipe
from atlas.relevance.engine import PREDICTED
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.store import Store, bases, bounds
from atlas.store.evidence import EXPLANATIONS
from atlas.store.joined import joined
from atlas.store.pictures import read_picture
from atlas.vlm import language
from atlas.vlm.files import Exchange

COPIED = 4
"""Pictures of a class that maps are copied from: the one that needs fewest is shown."""

MODELS = ("explain.vlm", "explain.writer", "explain.judge")
"""What has to be reached for the models."""


def explain(
    store: Store,
    recipe: Recipe,
    images: Sequence[Path],
    target: str | None,
    border: Border = OWN,
    labelled: Path | None = None,
    exchange: Exchange | None = None,
    to: str | None = None,
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
    exchange : Exchange, optional
        Files by which the models of `[explain]` are asked. As long as answers are missing, an
        explanation is by rules.
    to : str, optional
        Name or number of another class: also find what it would take for the answer to be that.

    Raises
    ------
    UserError
        The atlas is not finished, its network is another one now, there is no such class, or files
        are given and no model is named.
    """
    _check_models(recipe.explain, exchange)
    check_names(recipe.explain.maps)
    part = bases.factors(store)
    known = {one.name: one for one in bases.read(part)} if part is not None else {}
    background = Background(joined(store), {name: one.layer for name, one in known.items()})
    label = PREDICTED if target is None else background.label(target)
    wanted = None if to is None else background.label(to)
    paths = [path for given in images for path in image_files(given)]
    border.check(recipe, *([] if exchange else MODELS))
    inputs = Inputs(recipe, border=border)
    network = inputs.network
    check_weights(store, network)
    rules = plan(network.trace, recipe.relevance.composite)
    chosen = background.choose(recipe.explain.layers, recipe.explain.basis)
    of = {name: known[name].layer if name in known else name for name in chosen}
    layers = [name for name in chosen if network.trace.layers[of[name]].value in rules.reached]
    if not layers:
        raise UserError(
            f"no relevance comes to the layers of the explanation ({', '.join(chosen)}): name "
            "others in explain.layers"
        )
    hosts = [layer for layer in background.layers if layer in {of[name] for name in layers}]
    model = instrument(network.module, rules, hosts)
    factors = {name: FactorConcepts(known[name]) for name in layers if name in known}
    subject = Subject(model, tuple(layers), background, recipe.explain, factors)
    explainer = Explainer(
        subject,
        network.preprocessing,
        network.device,
        store.root / EXPLANATIONS,
        _labels(recipe, background.classes, labelled),
        others=other_maps(store, inputs, recipe.explain.maps) if recipe.explain.maps else None,
        asked=None if wanted is None else asking(store, network, subject.changed, wanted),
    )
    if not _asks(recipe.explain):
        return explainer(paths, label)
    with explaining(store, exchange) as model_of:
        explainer = replace(
            explainer,
            vlm=_seeing(recipe.explain, model_of),
            writer=_writer(recipe.explain, model_of),
        )
        return explainer(paths, label)


def asking(store: Store, network: Network, basis: ConceptLayer, label: int) -> Asked:
    """Return a class that is asked for, with pictures of the atlas to copy maps from.

    They are pictures that the network takes for the class and no other, those first that are of it.
    """
    table = joined(store).table("images", ["image", "key", "label", "predicted", "path"])
    rows = table.filter(pc.equal(table["predicted"], label)).to_pylist()
    rows.sort(key=lambda row: (row["label"] != label, row["image"]))
    pictures: list[RealPicture] = []
    for row in rows:
        path = store.inside(row["path"])
        view = read_picture(path)
        if (view.height, view.width) != network.preprocessing.size:
            raise bounds.damaged(path, f"{view.width} x {view.height} pixels are no input")
        seen = network.preprocessing.tensor([view]).to(network.device)
        one = real_picture(basis, row["image"], row["key"], seen, label)
        pictures += [one] if one.tied == 1 else []
        if len(pictures) == COPIED:
            break
    return Asked(label, basis, tuple(pictures))


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


def _asks(settings: Explain) -> bool:
    """Say whether a model is asked anything."""
    return bool(settings.vlm or settings.writer)


def _check_models(settings: Explain, exchange: Exchange | None) -> None:
    """Refuse a judge with nothing to judge, and files for nobody."""
    if settings.judge and not settings.writer:
        raise UserError("explain.judge judges what explain.writer writes: name a writer too")
    if exchange is not None and not _asks(settings):
        raise UserError(
            "explanations by rules ask no model, so that there are no questions: name one, "
            "--set explain.vlm=MODEL or --set explain.writer=MODEL"
        )


def _seeing(settings: Explain, model_of: ModelOf) -> vlm.Vlm | None:
    """Return the model that looks at heat maps; none without a name."""
    if not settings.vlm:
        return None
    return model_of(vlm.load, vlm.Loading(settings.vlm, max_tokens=80, setting="explain.vlm"))


def _writer(settings: Explain, model_of: ModelOf) -> Writer | None:
    """Return the model that chooses what is said, and the one that judges its words."""
    if not settings.writer:
        return None
    asked_for = vlm.Loading(settings.writer, max_tokens=2000, setting="explain.writer")
    writer = model_of(language.load, asked_for)
    if settings.judge in ("", settings.writer):
        return Writer(writer, writer if settings.judge else None)
    return Writer(
        writer, model_of(language.load, vlm.Loading(settings.judge, setting="explain.judge"))
    )
