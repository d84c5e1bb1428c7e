"""The stages in their order: what each needs, whether it is done, and what it records.

A stage is done when the manifest holds the fingerprint of its inputs. So an interrupted
build goes on where it stopped, and a changed recipe repeats just what depends on the change.
"""

import copy
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

import atlas
from atlas import (
    canonize,
    checkpoint,
    encoders,
    fused,
    imported,
    models,
    patches,
    pictures,
    prepass,
    processes,
    receptive,
    site,
    tables,
    vlm,
)
from atlas.data import Source, match_labels, open_source
from atlas.encoders import Encoder
from atlas.errors import UserError
from atlas.explain.background import Background
from atlas.explain.conditional import FusedPropagator, Propagator, ZennitPropagator
from atlas.explain.evidence import EXPLANATIONS
from atlas.explain.gathering import Subject
from atlas.explain.run import Explainer, Outcome, image_files
from atlas.fused import FusedEngine
from atlas.models import Network
from atlas.processes import ALONE, Team
from atlas.receptive import ReceptiveField
from atlas.recipe import Recipe, recorded
from atlas.relevance import (
    PREDICTED,
    ActivationEngine,
    Engine,
    ZennitEngine,
    composite_named,
)
from atlas.store import Store
from atlas.tally import Tally

PACKAGES = ("torch", "torchvision", "zennit", "zennit-crp", "datasets", "faiss-cpu", "numpy")
"""Their versions stand in the manifest: they can change the last digits of a score."""


@dataclass(frozen=True)
class Inputs:
    """A recipe with what it names, opened when first needed."""

    recipe: Recipe
    team: Team = ALONE

    @cached_property
    def network(self) -> Network:
        """The model, ready to run, on the GPU of this process if there is one."""
        model = replace(self.recipe.model, device=processes.device(self.recipe.model.device))
        return models.load(model, self.recipe.preprocessing, self.recipe.seed)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The chosen layers in the order of the forward pass."""
        network = self.network
        crop = network.preprocessing.crop
        return models.select_layers(network.module, self.recipe.model.layers, crop)

    @cached_property
    def source(self) -> Source:
        """The data."""
        return open_source(self.recipe.data)

    @cached_property
    def engine(self) -> Engine:
        """What computes the maps: the fused engine, or zennit where that does not reach."""
        module, composite = self.network.module, self.recipe.relevance.composite
        if self.recipe.prepass.dtype != "float32":  # a copy: patches are encoded in float32
            module = copy.deepcopy(module).to(getattr(torch, self.recipe.prepass.dtype))
        if "relevance" not in self.recipe.prepass.modes:
            return ActivationEngine(module, self.layers)
        canonizers = canonize.canonizers(module)
        reason = fused.unsupported(module, composite)
        if reason is None:
            side = self.network.preprocessing.crop
            return FusedEngine(module, self.layers, composite, canonizers, side)
        tqdm.write(f"relevance by zennit, which is slower: the fast way lacks {reason}", sys.stderr)
        if self.recipe.prepass.dtype != "float32":
            raise UserError(
                f"zennit computes in float32 here: prepass.dtype = {self.recipe.prepass.dtype!r} "
                "needs the fast way; leave it out"
            )
        return ZennitEngine(module, self.layers, composite, canonizers)

    @cached_property
    def fields(self) -> dict[str, ReceptiveField]:
        """Receptive field of each layer."""
        crop = self.network.preprocessing.crop
        return receptive.receptive_fields(self.network.module, self.layers, (crop, crop))

    @cached_property
    def encoder(self) -> Encoder:
        """What turns patches into vectors."""
        chosen, network = self.recipe.patches, self.network
        if chosen.encoder == "model":
            return encoders.network_encoder(
                network.module, chosen.layer, network.preprocessing, network.device
            )
        return encoders.transformers_encoder(chosen.encoder, chosen.revision, network.device)

    def measured(self) -> dict[str, Any]:
        """Return everything that decides the result of the pre-pass."""
        recipe = self.recipe
        return {
            "model": {
                "name": self.network.name,
                "weights": self.network.weights,
                "weights_sha256": self.network.weights_sha256,
            },
            "data": dict(self.source.describe()),
            "preprocessing": asdict(self.network.preprocessing),
            "layers": list(self.layers),
            "activation": asdict(recipe.activation),
            "relevance": asdict(recipe.relevance),
            "k": recipe.prepass.k,
            "modes": list(recipe.prepass.modes),
            "dtype": recipe.prepass.dtype,
            "compile": recipe.prepass.compile,
            "results": recipe.prepass.results,
            "seed": recipe.seed,
        }

    def atlas_id(self) -> str:
        """Return `<model>-<data>-<8 hex of what was measured>`."""
        # How many pictures were read belongs to what was measured; a stream knows it at
        # its end only, but its description and limit decide it.
        measured = {**self.measured(), "limit": self.recipe.data.limit}
        return f"{self.network.slug}-{self.source.name}-{fingerprint(measured)[:8]}"


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def index(recipe: Recipe, out: Path) -> Store | None:
    """Run pre-pass, pictures and patches, as far as they are not done.

    Of several processes that a launcher has started, the first does all that writes files;
    the others share the pre-pass with it and are done.

    Returns
    -------
    Store or None
        The atlas; None in the processes that only helped.

    Raises
    ------
    UserError
        Something in the recipe cannot be had, or another build works in `out`.
    """
    store = Store(out)
    with processes.team() as team:
        inputs = Inputs(recipe, team)
        if not team.first:
            if team.told_by_first(0):
                _measured(store, inputs)
            return None
        with alone(store):
            store.remove_partial()
            new = inputs.atlas_id()
            _begin(store, inputs, new)
            needed = not _done(store, "prepass", new)
            team.told_by_first(int(needed))
            _stage(store, "prepass", new, lambda: _prepass(store, inputs))
            (store.root / checkpoint.NAME).unlink(missing_ok=True)
            _stage(store, "pictures", new, lambda: _pictures(store, inputs))
            patching = fingerprint([new, asdict(recipe.patches)])
            _stage(store, "patches", patching, lambda: _patches(store, inputs))
    return store


def _begin(store: Store, inputs: Inputs, new: str) -> None:
    """Write into the manifest what is going to be measured."""
    manifest = store.manifest()
    if manifest.get("id") != new:  # a changed recipe: nothing of before may be mixed in
        manifest = {"id": new, **inputs.measured(), "stages": {}}
    manifest["recipe"] = inputs.recipe.as_dict()
    manifest["versions"] = _versions()
    store.write_manifest(manifest)


def build(recipe: Recipe, out: Path) -> Store | None:
    """Run every stage as far as it is not done, and make the site."""
    store = index(recipe, out)
    if store is not None:
        make_site(store)
    return store


def make_site(store: Store) -> None:
    """Render the pages of a finished atlas and build the static site."""
    with alone(store):
        site.render(store)
        site.build(store)


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
    _check_weights(store, network)
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


def encoder_of(store: Store) -> Encoder:
    """Return the encoder that made the index of a finished atlas.

    Raises
    ------
    UserError
        It cannot be loaded, or is another one now.
    """
    inputs = Inputs(recorded(store.manifest()))
    if inputs.recipe.patches.encoder == "model":
        _check_weights(store, inputs.network)
    made = store.manifest()["index"]["encoder"]
    if inputs.encoder.name != made:
        raise UserError(
            f"the patches of {store.root} were encoded by {made!r}, and the recipe gives "
            f"{inputs.encoder.name!r} now: run `atlas build` again"
        )
    return inputs.encoder


def _check_weights(store: Store, network: Network) -> None:
    """Look whether the network is the one that the atlas was made of."""
    if network.weights_sha256 != store.manifest()["model"]["weights_sha256"]:
        raise UserError(
            f"{network.name} has other weights now than when {store.root} was made: restore "
            "them, or build the atlas anew"
        )


def _stage(store: Store, name: str, inputs: str, run: Callable[[], dict[str, Any]]) -> None:
    """Run a stage unless the manifest says that it is done with these inputs."""
    if _done(store, name, inputs):
        return
    manifest = store.manifest()
    manifest["stages"].pop(name, None)
    store.write_manifest(manifest)
    results = run()
    manifest = {**store.manifest(), **results, "files": store.checksums()}
    manifest["stages"][name] = inputs
    store.write_manifest(manifest)


def _done(store: Store, name: str, inputs: str) -> bool:
    manifest = store.manifest()
    whole = all((store.root / file).is_file() for file in manifest.get("files", {}))
    return whole and manifest["stages"].get(name) == inputs


def _measured(store: Store, inputs: Inputs) -> Tally:
    """Run the pre-pass, this process's part of it if there are several."""
    recipe, network = inputs.recipe, inputs.network
    return prepass.run(
        inputs.source,
        _outputs(inputs),
        network.outputs,
        inputs.engine,
        network.preprocessing,
        recipe.activation,
        recipe.relevance,
        recipe.prepass,
        network.device,
        prepass.Checkpoints(store.root / checkpoint.NAME, inputs.atlas_id()),
        inputs.team,
    )


def _imported(inputs: Inputs) -> Tally:
    """Take the references that the recipe's folder has."""
    recipe, network = inputs.recipe, inputs.network
    return imported.run(
        inputs.source,
        _outputs(inputs),
        network.outputs,
        ActivationEngine(network.module, inputs.layers),
        network.preprocessing,
        recipe.activation,
        recipe.relevance,
        recipe.prepass,
        network.device,
    )


def _prepass(store: Store, inputs: Inputs) -> dict[str, Any]:
    tally = _imported(inputs) if inputs.recipe.prepass.results else _measured(store, inputs)
    tables.write(store, tally, _class_names(inputs))
    return {
        "maps": {name: [layer.height, layer.width] for name, layer in tally.layers.items()},
        "images": {
            "seen": tally.images,
            "labelled": tally.labelled,
            "correct": tally.correct,
            "skipped": tally.skipped,
            "skips": [{"key": key, "reason": reason} for _, key, reason in tally.skips],
        },
        "conservation": tables.conservation(tally),
    }


def _outputs(inputs: Inputs) -> Sequence[int | None]:
    """Return the network's output for every label of the data."""
    labels, network = inputs.source.classes, inputs.network
    if network.classes is None:  # nobody names the outputs: labels are taken as they are
        return range(network.outputs)
    return match_labels(labels, network.classes)


def _class_names(inputs: Inputs) -> Sequence[str]:
    """Return a name for every output of the network."""
    network, labels = inputs.network, inputs.source.classes or ()
    if network.classes is not None:
        return network.classes
    unnamed = [f"class {number}" for number in range(network.outputs)]
    return [*labels[: network.outputs], *unnamed[len(labels) :]]


def _pictures(store: Store, inputs: Inputs) -> dict[str, Any]:
    pictures.store_pictures(store, inputs.source, inputs.network.preprocessing)
    return {}


def _patches(store: Store, inputs: Inputs) -> dict[str, Any]:
    recipe, network = inputs.recipe, inputs.network
    patches.localise_patches(
        store,
        inputs.engine,
        inputs.fields,
        network.preprocessing,
        recipe.relevance.target,
        recipe.prepass.batch_size,
        network.device,
    )
    fields = {
        layer: {"size": list(field.size), "stride": list(field.stride), "start": list(field.start)}
        for layer, field in inputs.fields.items()
    }
    return {"index": patches.index_patches(store, inputs.encoder), "receptive_fields": fields}


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"concept-atlas": atlas.__version__, **versions}


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Keep a second build out of the directory."""
    store.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(store.root / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(
            f"another process is building in {store.root}: wait for it, or choose another --out"
        ) from error
