"""Factors of a finished atlas: finding them, and measuring them like channels."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from atlas.errors import UserError
from atlas.factors import finding, layers, sampling
from atlas.factors.finding import LayerSample
from atlas.factors.layers import Range
from atlas.pipeline.annotating import write_names
from atlas.pipeline.indexing import index_factors
from atlas.pipeline.inputs import Inputs, check_weights, fingerprint
from atlas.pipeline.stages import alone, check_finished
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Recipe, recorded
from atlas.relevance.engine import ActivationEngine
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.store import NAMES_FILE, Store, bases, evidence, files, names
from atlas.store.bases import Basis
from atlas.store.joined import joined

FACTORING = 1
"""Raised when factors are found in another way, so that those of older atlases are found anew."""

SIZE = 64
"""Factors of an autoencoder whose number is not said."""

ANSWERED = 96
"""Pictures on which it is tested what the network answers from factors alone."""


def factorise(store: Store, recipe: Recipe, border: Border = OWN) -> Store:
    """Find the factors of an atlas and measure them, as far as that is not done.

    Parameters
    ----------
    store : Store
        A finished atlas.
    recipe : Recipe
        Its recipe; of its table `[factors]` anything may have changed.
    border : Border
        What of the recipe may be opened.

    Returns
    -------
    Store
        The part of the atlas that has them.

    Raises
    ------
    UserError
        The atlas is not finished, its network or data are other ones now, a layer cannot be
        factorised, or scikit-learn is missing.
    """
    with alone(store):
        check_finished(store)
        inputs = Inputs(recipe, border=border)
        _check_measured(store, inputs)
        part = bases.place(store)
        with alone(part), _as_it_was(part):
            found = _found(store, part, inputs)
            index_factors(part, Inputs(recipe, border=border, bases=tuple(found)))
            manifest = part.manifest()
            manifest["atlas"] = store.manifest()["id"]
            manifest["directions"] = bases.checksums(part)
            part.write_manifest(manifest)
            if (part.root / NAMES_FILE).is_file():  # names of factors that were there before
                write_names(part, recipe)
            for line in _left_behind(store, part):
                tqdm.write(line, sys.stderr)
    return part


def _check_measured(store: Store, inputs: Inputs) -> None:
    """Look whether the network, the data and all that decides the pre-pass are the atlas's."""
    check_weights(store, inputs.network)
    manifest, recipe = store.manifest(), inputs.recipe
    now = json.loads(json.dumps(inputs.measured()))
    changed = [
        name
        for name, value in now.items()
        if name not in ("model", "layers") and name in manifest and manifest[name] != value
    ]
    if recorded(manifest).data.limit != recipe.data.limit:
        changed.append("data.limit")
    if changed:
        raise UserError(
            f"{' and '.join(changed)}: not as when {store.root} was made, so that factors would be "
            "of something else than its channels: restore that, or build the atlas anew"
        )


def _left_behind(store: Store, part: Store) -> Iterator[str]:
    """Yield what is of earlier factors, and of none of these, as long as nothing took its place."""
    valid = {(r.atlas, r.layer, r.channel): r.method for r in names.valid(part) if r.name}
    former = {(r.atlas, r.layer, r.channel): r.method for r in names.read(part) if r.name}
    methods = [method for key, method in former.items() if key not in valid]
    if methods and not valid.keys():
        persons = methods.count("person")
        these = f"{len(methods)} ({persons} by a person)" if persons else f"{len(methods)}"
        yield (
            f"Names of earlier factors, which do not count for these: {these}. They stay in "
            f"{part.root / NAMES_FILE} and count again with the earlier factors; `atlas name "
            f"{store.root}` names these."
        )
    digests = bases.digests(joined(store))
    gone = 0
    for folder in evidence.folders(store.root):
        with suppress(UserError):  # what cannot be read, verify says
            gone += evidence.read(folder).of_others(digests) is not None
    if gone:
        yield f"Explanations by earlier factors: {gone}. `atlas explain` explains a picture again."


@contextmanager
def _as_it_was(part: Store) -> Iterator[None]:
    """Put the factors that were there back where others are refused; what is cut off goes on."""
    before = part.root.with_name(f".{part.root.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if part.manifest():
        shutil.copytree(part.root, before)
    try:
        yield
    except UserError:
        for path in part.root.iterdir():
            if path.name != ".lock":  # it is held
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if before.is_dir():
            shutil.copytree(before, part.root, dirs_exist_ok=True)
        raise
    finally:
        shutil.rmtree(before, ignore_errors=True)


def _found(store: Store, part: Store, inputs: Inputs) -> list[Basis]:
    """Return the bases of the chosen layers: those that are there, and others as they are found."""
    settings = inputs.recipe.factors
    by_autoencoder = settings.method == "sae"
    chosen = layers.choose(inputs.plan, inputs.layers, settings.layers, signed=by_autoencoder)
    if settings.trained:
        inputs.border.check(inputs.recipe, "factors.trained")
        if not by_autoencoder or len(chosen) != 1:
            raise UserError(
                f"factors.trained = {settings.trained!r} is an autoencoder of one layer: add "
                "--set factors.method=sae and --set 'factors.layers=[\"LAYER\"]'"
            )
    wanted = fingerprint([store.manifest()["id"], _decisive(inputs.recipe), FACTORING])
    known = {one.layer: one for one in bases.there(part) if one.facts.get("inputs") == wanted}
    missing = {layer: within for layer, within in chosen.items() if layer not in known}
    if missing:
        known |= _sampled(part, inputs, missing, wanted)
    found = [known[layer] for layer in chosen]
    bases.remove_others(part, found)
    return found


def _decisive(recipe: Recipe) -> dict[str, object]:
    """Return what decides the factors of a layer, whatever layers have some beside it."""
    settings = recipe.factors
    found = {key: getattr(settings, key) for key in ("ranks", "pictures", "positions", "seed")}
    if settings.method == "nmf":
        return found
    trained = Path(settings.trained)
    content = files.sha256(trained) if settings.trained and trained.is_file() else None
    return {**found, "method": settings.method, "active": settings.active, "trained": content}


def _sampled(
    part: Store, inputs: Inputs, missing: dict[str, Range], wanted: str
) -> dict[str, Basis]:
    """Find the factors of some layers on one sample of the data."""
    settings, network = inputs.recipe.factors, inputs.network
    with_relevance = "relevance" in inputs.recipe.prepass.modes
    rules = plan(network.trace, inputs.recipe.relevance.composite if with_relevance else None)
    names = [name for name in inputs.layers if name in missing]
    model = instrument(network.module, rules, names)
    drawn = sampling.sample(
        inputs.source,
        network.preprocessing,
        ActivationEngine(model),
        missing,
        settings.pictures,
        settings.positions,
        settings.seed,
        network.device,
        ANSWERED,
    )
    views = drawn.views.to(network.device)
    found = {}
    for layer in names:
        basis = _basis(LayerSample(layer, drawn.positions[layer], missing[layer]), inputs)
        alone_ = instrument(network.module, rules, [layer])
        basis = finding.tested(basis, alone_, views, settings.seed)
        basis = replace(basis, facts={**basis.facts, "inputs": wanted})
        bases.write(part, basis)
        found[layer] = basis
    return found


def _basis(sampled: LayerSample, inputs: Inputs) -> Basis:
    """Find the factors of one layer by the recipe's method."""
    settings = inputs.recipe.factors
    if settings.method == "nmf":
        return finding.by_nmf(sampled, settings.ranks, settings.seed)
    if settings.trained:
        return finding.trained_elsewhere(sampled, Path(settings.trained), settings.active)
    size = max(settings.ranks, default=SIZE)
    if settings.active > size:
        raise UserError(f"factors.active = {settings.active}: there are only {size} factors")
    return finding.by_autoencoder(
        sampled, size, settings.active, settings.seed, inputs.network.device
    )
