"""What a recipe names, opened when it is first needed."""

import copy
import hashlib
import json
import sys
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from tqdm import tqdm

from atlas.data import Source, open_source
from atlas.errors import UserError
from atlas.model import canonize, networks, receptive
from atlas.model.networks import Network
from atlas.model.receptive import ReceptiveField
from atlas.patches import encoders
from atlas.patches.encoders import Encoder
from atlas.prepass import processes
from atlas.prepass.processes import ALONE, Team
from atlas.recipe import Recipe, recorded
from atlas.relevance import fused
from atlas.relevance.engine import ActivationEngine, Engine, ZennitEngine
from atlas.relevance.fused import FusedEngine
from atlas.store import Store


@dataclass(frozen=True)
class Inputs:
    """A recipe with what it names, opened when first needed."""

    recipe: Recipe
    team: Team = ALONE

    @cached_property
    def network(self) -> Network:
        """The model, ready to run, on the GPU of this process if there is one."""
        model = replace(self.recipe.model, device=processes.device(self.recipe.model.device))
        return networks.load(model, self.recipe.preprocessing, self.recipe.seed)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The chosen layers in the order of the forward pass."""
        network = self.network
        crop = network.preprocessing.crop
        return networks.select_layers(network.module, self.recipe.model.layers, crop)

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
        measured = {**self.measured(), "limit": self.recipe.data.limit, **self._meanings()}
        return f"{self.network.slug}-{self.source.name}-{fingerprint(measured)[:8]}"

    def _meanings(self) -> dict[str, Any]:
        """Return what the recipe says about which output a picture's relevance is of."""
        data, model = self.recipe.data, self.recipe.model
        said = {
            "classes": list(self.network.classes or ()) if model.classes else None,
            "image_column": data.image_column,
            "label_column": data.label_column,
        }
        return {key: value for key, value in said.items() if value}


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def encoder_of(store: Store) -> Encoder:
    """Return the encoder that made the index of a finished atlas.

    Raises
    ------
    UserError
        It cannot be loaded, or is another one now.
    """
    inputs = Inputs(recorded(store.manifest()))
    if inputs.recipe.patches.encoder == "model":
        check_weights(store, inputs.network)
    made = store.manifest()["index"]["encoder"]
    if inputs.encoder.name != made:
        raise UserError(
            f"the patches of {store.root} were encoded by {made!r}, and the recipe gives "
            f"{inputs.encoder.name!r} now: run `atlas build` again"
        )
    return inputs.encoder


def check_weights(store: Store, network: Network) -> None:
    """Look whether the network is the one that the atlas was made of."""
    if network.weights_sha256 != store.manifest()["model"]["weights_sha256"]:
        raise UserError(
            f"{network.name} has other weights now than when {store.root} was made: restore "
            "them, or build the atlas anew"
        )
