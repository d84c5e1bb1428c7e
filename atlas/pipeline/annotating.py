"""What is said about a finished atlas: names and their scores, kept in its tables."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tqdm import tqdm

from atlas import addresses, vlm
from atlas.data.hierarchy import superclasses
from atlas.errors import UserError
from atlas.naming import asking, clip, labels
from atlas.pipeline.inputs import Inputs
from atlas.pipeline.stages import alone
from atlas.pipeline.trust import NETWORK, OWN, Border
from atlas.probe import formulas
from atlas.probe.probe import Probe, measure_responses
from atlas.recipe import Naming, Recipe
from atlas.scoring import testing
from atlas.scoring.testing import Shown
from atlas.store import Store, names
from atlas.store.names import NameRecord


def name(store: Store, recipe: Recipe, border: Border = OWN) -> dict[str, int]:
    """Name every channel by the recipe's method, as far as that is not done.

    Parameters
    ----------
    store : Store
        A finished atlas.
    recipe : Recipe
        Its recipe.
    border : Border
        What of the recipe may be opened.

    Returns
    -------
    dict of str to int
        How many channels are named, have no clear concept, are unnamed or were not asked about.

    Raises
    ------
    UserError
        The model cannot be loaded, or the atlas is not finished.
    """
    settings = recipe.naming
    with alone(store):
        _finished(store)
        if settings.method == "labels":
            above = _superclasses(store, recipe, border)
            inputs = Inputs(recipe, border=border)
            responses = measure_responses(store, _probe(inputs), settings.pictures, recipe.seed)
            labels.run(store, responses, f"labels of {inputs.source.name}", above)
        elif settings.method == "clip":
            border.check(recipe, "naming.words", "naming.clip", *NETWORK)
            phrases = clip.read_phrases(settings.words)
            with _reaching(settings.clip):
                model = clip.load(settings.clip, settings.clip_revision)
            probe = _probe(Inputs(recipe, border=border))
            responses = measure_responses(store, probe, settings.pictures, recipe.seed)
            clip.run(store, model, responses, phrases)
        else:
            border.check(recipe, "naming.vlm", "naming.prompt")
            responses = None
            if settings.contrast:
                probe = _probe(Inputs(recipe, border=border))
                responses = measure_responses(store, probe, settings.pictures, recipe.seed)
            asking.name_channels(store, _load(settings), settings, responses)
        return _written(store, recipe)


def score(store: Store, recipe: Recipe, border: Border = OWN) -> int:
    """Test every name on patches that it was not made from; return how many were tested.

    Parameters
    ----------
    store : Store
        A finished atlas with names.
    recipe : Recipe
        Its recipe.
    border : Border
        What of the recipe may be opened.

    Raises
    ------
    UserError
        There are no names yet, or the model or the network cannot be loaded.
    """
    settings, naming_ = recipe.scoring, recipe.naming
    with alone(store):
        _finished(store)
        table = store.table("channels")
        if "name" not in table.column_names or not any(table["name"].to_pylist()):
            raise UserError(f"{store.root} has no names to score: run `atlas name` first")
        border.check(recipe, "naming.vlm", "scoring.prompt")
        probe = _probe(Inputs(recipe, border=border))
        model = _load(naming_)
        shown = Shown(naming_.view, naming_.side)
        above = _superclasses(store, recipe, border)
        asked = testing.score_names(store, model, probe, settings, shown, above)
        _record_checksums(store)
        return asked


def rename(store: Store, recipe: Recipe, address: str, new: str, by: str) -> None:
    """Record a person's name for a channel, which wins over all others.

    Raises
    ------
    UserError
        There is no such channel, or the name is empty.
    """
    text = " ".join(new.split())
    if not text or not by.strip():
        raise UserError('write a name and who gives it: atlas rename ATLAS L:C "name" --by "who"')
    layer, _, number = address.rpartition(":")
    with alone(store):
        _finished(store)
        table = store.table("channels").select(["layer", "channel"]).to_pydict()
        known = [f"{at}:{one}" for at, one in zip(table["layer"], table["channel"], strict=True)]
        if address not in known:
            raise addresses.unknown(address, known, store.manifest()["id"])
        record = NameRecord(layer, int(number), "person", by.strip(), "named", text)
        names.append(store, [record], len(names.read(store)))
        _written(store, recipe)


def loading(settings: Naming) -> vlm.Loading:
    """Return how the recipe's vision-language model is loaded."""
    return vlm.Loading(
        settings.vlm,
        settings.revision,
        settings.dtype,
        settings.device,
        settings.quantization,
        settings.batch_size,
        settings.max_tokens,
        settings.constrained,
    )


def _load(settings: Naming) -> vlm.Vlm:
    with _reaching(settings.vlm):
        return vlm.load(loading(settings))


def _reaching(model: str) -> AbstractContextManager[None]:
    """Return a context in which the Hub is left alone if it does not answer within seconds."""
    if Path(model).expanduser().exists() or model.startswith("demo/"):
        return nullcontext()
    from atlas.data.access import offline_if_unreachable  # noqa: PLC0415 (slow to import)

    return offline_if_unreachable()


def _probe(inputs: Inputs) -> Probe:
    network = inputs.network
    return Probe(inputs.activations, network.preprocessing, inputs.fields, network.device)


def _superclasses(store: Store, recipe: Recipe, border: Border) -> Mapping[str, frozenset[int]]:
    """Return which classes are below what, as the recipe's hierarchy or WordNet has it."""
    border.check(recipe, "data.hierarchy")
    found = superclasses(recipe.data.hierarchy, formulas.class_names(store))
    if found.remark:
        tqdm.write(f"hierarchy: {found.remark}", sys.stderr)
    return found.classes


def _finished(store: Store) -> None:
    if not store.finished:
        raise UserError(f"{store.root} is not finished: run `atlas index` on its recipe to go on")


def _written(store: Store, recipe: Recipe) -> dict[str, int]:
    counts = names.write_columns(store, recipe.naming.method or "vlm")
    _record_checksums(store)
    return counts


def _record_checksums(store: Store) -> None:
    """Bring the checksums in the manifest up to date after tables have changed."""
    store.write_manifest({**store.manifest(), "files": store.checksums()})
