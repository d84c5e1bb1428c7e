"""Measuring: pre-pass, pictures and patches, as far as they are not done."""

import importlib.metadata
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

import atlas
from atlas.data import holds, output_names
from atlas.errors import UserError
from atlas.indexing import pictures
from atlas.indexing.build import VECTORS, index_patches, localise_patches
from atlas.pipeline.checking import checked
from atlas.pipeline.inputs import Inputs, fingerprint
from atlas.pipeline.stages import WEIGHTS, alone, done, stage
from atlas.pipeline.steps import Steps
from atlas.pipeline.weighing import WEIGHING, weigh
from atlas.prepass import checkpoint, classpictures, imported, processes, tables
from atlas.prepass.measuring import Checkpoints, measure_channels
from atlas.prepass.tally import Tally
from atlas.recipe import Recipe
from atlas.store import STAGES, Store, states
from atlas.store.unfinished import Unfinished
from atlas.trace.following import RefusedError

UNFINISHED = ("where.safetensors", "vectors.safetensors")
"""What is done of the patches, in the atlas directory while they are not finished: boxes and
masks, and how many pictures have their vectors."""

PATCHES = 3
"""Raised when patches are made in another way, so that `atlas build` makes those of older atlases
anew. What was measured stays."""

REPORTED_GB = 1.0
"""Memory of class sums from which on it is reported before a pass."""

PACKAGES = ("torch", "torchvision", "zennit", "zennit-crp", "datasets", "faiss-cpu", "numpy")
"""Their versions stand in the manifest: they can change the last digits of a score."""


def index(recipe: Recipe, out: Path, steps: Steps | None = None) -> Store | None:
    """Run pre-pass, pictures and patches, as far as they are not done, and read the weights.

    Of several processes that a launcher has started, the first does all that writes files;
    the others share the pre-pass with it and are done.

    Parameters
    ----------
    recipe : Recipe
        What to measure, and how.
    out : Path
        The atlas directory.
    steps : Steps, optional
        The display of a run that does more than this.

    Returns
    -------
    Store or None
        The atlas; None in the processes that only helped.

    Raises
    ------
    UserError
        Something in the recipe cannot be had, `out` lies in the data, or another build works in it.
    """
    store = Store(out)
    steps = steps or Steps((*STAGES, WEIGHTS), recipe.prepass.progress)
    if holds(recipe.data, out):
        raise UserError(
            f"{out} lies in {recipe.data.source}, so that the atlas's pictures would become data: "
            "choose another --out"
        )
    with processes.team() as team:
        inputs = Inputs(recipe, team)
        if not team.first:
            if team.from_first([]) != [0]:
                _measured(store, inputs)
            return None
        with alone(store):
            store.remove_partial()
            new = inputs.atlas_id()
            patching = _patching(recipe, new)
            _begin(store, inputs, new)
            if needed := not done(store, "prepass", new):
                tqdm.write(f"labels: {inputs.labels.summary}", sys.stderr)
            team.from_first([int(needed)])
            if not done(store, "patches", patching):
                _ = inputs.encoder  # what cannot be had is reported before the pass
            _run(store, inputs, new, steps)
            weighing = fingerprint([new, WEIGHING])
            stage(store, WEIGHTS, weighing, lambda: weigh(store, inputs), steps)
    return store


def index_factors(store: Store, inputs: Inputs) -> None:
    """Run the same for the factors of an atlas, as far as that is not done.

    Parameters
    ----------
    store : Store
        The part of the atlas that has them, in which nobody else works.
    inputs : Inputs
        With the bases.
    """
    store.remove_partial()
    new = inputs.atlas_id()
    _begin(store, inputs, new)
    _run(store, inputs, new, Steps(STAGES, inputs.recipe.prepass.progress, "factors, stage"))


def _run(store: Store, inputs: Inputs, new: str, steps: Steps) -> None:
    """Run pre-pass, pictures and patches for the id `new`, as far as they are not done."""
    patching, later = _patching(inputs.recipe, new), steps.later("prepass")
    stage(store, "prepass", new, lambda: _prepass(store, inputs, later), steps)
    (store.root / checkpoint.NAME).unlink(missing_ok=True)
    stage(store, "pictures", new, lambda: _pictures(store, inputs), steps)
    stage(store, "patches", patching, lambda: _patches(store, inputs, patching), steps)
    for name in (*UNFINISHED, VECTORS):
        (store.root / name).unlink(missing_ok=True)


def _patching(recipe: Recipe, new: str) -> str:
    return fingerprint([new, asdict(recipe.patches), PATCHES])


def _begin(store: Store, inputs: Inputs, new: str) -> None:
    """Write into the manifest what is going to be measured."""
    manifest = store.manifest()
    if manifest.get("id") != new:  # a changed recipe: nothing of before may be mixed in
        measured = inputs.measured()
        if manifest.get("id"):
            states.date_back(store)
        manifest = {"id": new, **measured, "stages": {}}
    manifest["recipe"] = inputs.recipe.as_dict()
    manifest["versions"] = _versions()
    store.write_manifest(manifest)


def _measured(store: Store, inputs: Inputs, later: float = 0.0) -> Tally:
    """Run the pre-pass, this process's part of it if there are several."""
    recipe, network = inputs.recipe, inputs.network
    return measure_channels(
        inputs.source,
        inputs.labels.outputs,
        network.outputs,
        inputs.engine,
        network.preprocessing,
        recipe.activation,
        recipe.relevance,
        recipe.prepass,
        network.device,
        Checkpoints(store.root / checkpoint.NAME, inputs.atlas_id()),
        inputs.team,
        recipe.data.most_skipped,
        recipe.seed,
        later,
        fired_by_class=bool(inputs.bases),
    )


def _imported(inputs: Inputs) -> Tally:
    """Take the references that the recipe's folder has."""
    recipe, network = inputs.recipe, inputs.network
    return imported.run(
        inputs.source,
        inputs.labels.outputs,
        network.outputs,
        inputs.activations,
        network.preprocessing,
        recipe.activation,
        recipe.relevance,
        recipe.prepass,
        network.device,
    )


def _report_memory(inputs: Inputs) -> None:
    """Say how much memory the sums of each class need, where that is much."""
    if "relevance" not in inputs.recipe.prepass.modes or inputs.recipe.prepass.results:
        return
    channels = sum(inputs.network.trace.layers[name].shape[1] for name in inputs.layers)
    classes = inputs.network.outputs
    needed = 8e-9 * classes * channels
    if needed >= REPORTED_GB:
        tqdm.write(
            f"memory: the relevance of {channels:,} channels for each of {classes:,} classes "
            f"takes {needed:.1f} GB, and twice that where it is written: if that is too "
            "much, choose layers (model.layers) or leave relevance out "
            "(--set 'prepass.modes=[\"activation\"]')",
            sys.stderr,
        )


def _prepass(store: Store, inputs: Inputs, later: float) -> dict[str, Any]:
    _report_memory(inputs)
    try:
        checks = [] if inputs.bases else checked(inputs)  # those of the atlas hold
        taken_over = inputs.recipe.prepass.results and not inputs.bases
        tally = _imported(inputs) if taken_over else _measured(store, inputs, later)
    except RefusedError as error:  # only now it showed that the network cannot be followed
        raise RefusedError(f"{inputs.network.name}: {error}") from error
    network, found = inputs.network, inputs.labels.outputs
    names = output_names(network.classes, inputs.source.classes, found, network.outputs)
    tables.write(store, tally, names)
    return {
        "measured": datetime.now(UTC).date().isoformat(),
        "maps": {name: [layer.height, layer.width] for name, layer in tally.layers.items()},
        "images": {
            "seen": tally.images,
            "labelled": tally.labelled,
            "correct": tally.correct,
            "skipped": tally.skipped,
            "skips": [{"key": key, "reason": reason} for _, key, reason in tally.skips],
            "reasons": tally.reasons,
            "left_out": inputs.source.left_out.every,
        },
        "labels": inputs.labels.summary,
        "bands": tally.per_band,
        **({"samples": classpictures.PER_CLASS} if tally.samples else {}),
        "checks": checks,
        "conservation": tables.conservation(tally),
    }


def _pictures(store: Store, inputs: Inputs) -> dict[str, Any]:
    pictures.store_pictures(store, inputs.source, inputs.network.preprocessing)
    return {}


def _patches(store: Store, inputs: Inputs, patching: str) -> dict[str, Any]:
    recipe, network = inputs.recipe, inputs.network
    where, index = (
        Unfinished(store.root / name, patching, recipe.prepass.checkpoint_seconds)
        for name in UNFINISHED
    )
    localise_patches(
        store,
        inputs.locating,
        inputs.fields,
        network.preprocessing,
        recipe.relevance.target,
        recipe.prepass.batch_size,
        network.device,
        where,
    )
    fields = {
        layer: {
            "size": list(field.size),
            "stride": list(field.stride),
            "start": list(field.start),
            "whole": field.whole,
        }
        for layer, field in inputs.fields.items()
    }
    return {
        "index": index_patches(store, inputs.encoder, index),
        "receptive_fields": fields,
        "depths": inputs.depths,
    }


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"concept-atlas": atlas.__version__, **versions}
