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

from atlas.data import Matching, Source, match_outputs, open_source
from atlas.errors import UserError
from atlas.factors.maps import FactorEngine
from atlas.model import networks
from atlas.model.networks import Network
from atlas.patches import encoders
from atlas.patches.encoders import Encoder
from atlas.pipeline.trust import NETWORK, OWN, Border, border
from atlas.prepass import processes
from atlas.prepass.processes import ALONE, Team
from atlas.recipe import Prepass, Recipe, recorded
from atlas.relevance.engine import ActivationEngine, Engine, RelevanceEngine
from atlas.relevance.plan import Plan, plan
from atlas.relevance.tape import Instrumented, instrument
from atlas.store import Store, bases
from atlas.store.bases import Basis
from atlas.trace import layers
from atlas.trace.computation import computation_hash
from atlas.trace.following import RefusedError
from atlas.trace.sights import ReceptiveField


@dataclass(frozen=True)
class Inputs:
    """A recipe with what it names, opened when first needed."""

    recipe: Recipe
    team: Team = ALONE
    border: Border = OWN
    """What of it may be opened."""
    bases: tuple[Basis, ...] = ()
    """Factors that are measured in place of channels; none for those."""

    @cached_property
    def network(self) -> Network:
        """The model, ready to run, on the GPU of this process if there is one."""
        self.border.check(self.recipe, *NETWORK)
        model = replace(self.recipe.model, device=processes.device(self.recipe.model.device))
        return networks.load(model, self.recipe.preprocessing, self.recipe.seed)

    @cached_property
    def plan(self) -> Plan:
        """What is done with each of the network's operations."""
        recipe = self.recipe
        composite = recipe.relevance.composite if "relevance" in recipe.prepass.modes else None
        try:
            return plan(self.network.trace, composite, self._dtype)
        except RefusedError as error:
            raise RefusedError(f"{self.network.name}: {error}") from error

    @cached_property
    def selection(self) -> layers.LayerSelection:
        """The chosen layers, and which are left out."""
        reached = self.plan.reached if "relevance" in self.recipe.prepass.modes else None
        chosen = layers.choose(self.network.trace, self.recipe.model.layers, reached)
        if self.team.first:
            for remark in chosen.remarks:
                tqdm.write(remark, sys.stderr)
        return chosen

    @property
    def layers(self) -> tuple[str, ...]:
        """The chosen layers in the order of the forward pass; with factors, those they are of."""
        if self.bases:
            return tuple(basis.layer for basis in self.bases)
        return self.selection.names

    @cached_property
    def source(self) -> Source:
        """The data."""
        self.border.check(self.recipe, "data.source")
        source = open_source(self.recipe.data)
        if self.team.first:
            for remark in source.remarks:
                tqdm.write(f"data: {remark}", sys.stderr)
        return source

    @cached_property
    def labels(self) -> Matching:
        """Which output of the network each label of the data is."""
        network, recipe = self.network, self.recipe
        by_label = recipe.relevance.target == "label" and "relevance" in recipe.prepass.modes
        return match_outputs(
            self.source, network.outputs, network.classes, recipe.data.labels, needed=by_label
        )

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.recipe.prepass.dtype)
        return dtype

    @cached_property
    def instrumented(self) -> Instrumented:
        """The network as the pre-pass runs it."""
        module = self.network.module
        if self._dtype != torch.float32:  # a copy: patches are encoded in float32
            module = copy.deepcopy(module).to(self._dtype)
        return instrument(module, self.plan, self.layers, self._dtype)

    @cached_property
    def engine(self) -> Engine:
        """What computes the maps."""
        if "relevance" in self.recipe.prepass.modes:
            return self._of_bases(RelevanceEngine(self.instrumented))
        return self._of_bases(ActivationEngine(self.instrumented))

    @cached_property
    def locating(self) -> Engine:
        """The same, with the relevance of the pixels."""
        if "relevance" in self.recipe.prepass.modes:
            return self._of_bases(RelevanceEngine(self.instrumented, pixels=True))
        return self.engine

    @cached_property
    def activations(self) -> Engine:
        """What computes activations alone, in float32."""
        only = plan(self.network.trace, None)
        engine = ActivationEngine(instrument(self.network.module, only, self.layers))
        return self._of_bases(engine)

    def _of_bases(self, engine: Engine) -> Engine:
        return FactorEngine(engine, self.bases) if self.bases else engine

    @property
    def measured_layers(self) -> list[str]:
        """The layers as tables and addresses have them: bases where factors are measured."""
        return [basis.name for basis in self.bases] or list(self.layers)

    @cached_property
    def fields(self) -> dict[str, ReceptiveField]:
        """Receptive field of each layer, by its name in tables."""
        names = zip(self.measured_layers, self.layers, strict=True)
        known = ((name, self.network.trace.layers[layer].field) for name, layer in names)
        return {name: field for name, field in known if field is not None}

    @property
    def depths(self) -> dict[str, float]:
        """Where each layer stands among all of the network: 0 is the first, 1 the last."""
        places = {name: place for place, name in enumerate(self.network.trace.layers)}
        last = max(len(places) - 1, 1)
        names = zip(self.measured_layers, self.layers, strict=True)
        return {name: round(places[layer] / last, 4) for name, layer in names}

    @cached_property
    def encoder(self) -> Encoder:
        """What turns patches into vectors."""
        self.border.check(self.recipe, "patches.encoder")
        chosen, network = self.recipe.patches, self.network
        if chosen.encoder == "model":
            return encoders.network_encoder(
                network.module, chosen.layer, network.trace, network.preprocessing, network.device
            )
        size = network.preprocessing.size
        return encoders.transformers_encoder(chosen.encoder, chosen.revision, size, network.device)

    @property
    def _factors_hash(self) -> str:
        return fingerprint([basis.digest for basis in self.bases])

    def measured(self) -> dict[str, Any]:
        """Return everything that decides the result of the pre-pass."""
        recipe = self.recipe
        return {
            "model": {
                "name": self.network.name,
                "weights": self.network.weights,
                "weights_sha256": self.network.weights_sha256,
                "code_sha256": self.network.code_sha256,
                "course_sha256": computation_hash(self.network.trace),
                **({"factors_sha256": self._factors_hash} if self.bases else {}),
            },
            "data": dict(self.source.describe()),
            "preprocessing": asdict(self.network.preprocessing),
            "layers": self.measured_layers,
            "activation": asdict(recipe.activation),
            "relevance": _without(asdict(recipe.relevance), "unchecked"),
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
        if self.recipe.prepass.bands != Prepass.bands:  # else ids are those of before bands
            measured["bands"] = self.recipe.prepass.bands
        return f"{self.network.slug}-{self.source.name}-{fingerprint(measured)[:8]}"

    def _meanings(self) -> dict[str, Any]:
        """Return what the recipe says about which output a picture's relevance is of."""
        data, model, found = self.recipe.data, self.recipe.model, self.labels.outputs
        said = {
            "labels": None if found == tuple(range(len(found))) else list(found),
            "classes": list(self.network.classes or ()) if model.classes else None,
            "image_column": data.image_column,
            "label_column": data.label_column,
        }
        return {key: value for key, value in said.items() if value}


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def opened(store: Store, recipe: Recipe, border_: Border = OWN) -> Inputs:
    """Return the inputs by which an atlas was measured, or the part of one that has its factors."""
    return Inputs(recipe, border=border_, bases=tuple(bases.read(store)) if store.home else ())


def load_encoder(store: Store, *, trust_code: bool = False) -> Encoder:
    """Return the encoder that made the index of a finished atlas.

    Parameters
    ----------
    store : Store
        The atlas.
    trust_code : bool
        Whether its recipe may run code and read files outside the atlas.

    Raises
    ------
    UserError
        It cannot be loaded, is another one now, or is not trusted.
    """
    inputs = Inputs(recorded(store.manifest()), border=border(store, trust_code=trust_code))
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
