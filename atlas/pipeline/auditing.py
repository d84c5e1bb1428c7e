"""How far maps hold: the audit of a finished atlas, on its own pictures and its own network."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atlas.audit.audited import Audited, MapOf
from atlas.audit.maps import Mapper, available, last_with_positions
from atlas.audit.measures import heights
from atlas.audit.report import Pictured, figures, object_share
from atlas.data.images import decode
from atlas.demo import world
from atlas.errors import UserError
from atlas.explain.conditional import propagate
from atlas.factors import maps as factor_maps
from atlas.pipeline.inputs import Inputs, check_weights
from atlas.pipeline.stages import alone, check_finished
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Recipe
from atlas.relevance.engine import RelevanceEngine
from atlas.relevance.plan import Plan, plan
from atlas.relevance.tape import Instrumented, instrument
from atlas.store import Store, audit, bases
from atlas.store.audit import MEASURES, TITLES, VERSION, Audit
from atlas.store.bases import Basis
from atlas.store.othermaps import TestedMap
from atlas.trace.following import RefusedError

DRAWN = "demo:world"
"""The source whose pictures are drawn, so that it is known where the object is."""


def audit_maps(
    store: Store,
    recipe: Recipe,
    pictures: int,
    chosen: Sequence[str] = (),
    border: Border = OWN,
) -> Audit:
    """Measure how far maps of what an answer rests on hold, and write that into the atlas.

    Parameters
    ----------
    store : Store
        A finished atlas.
    recipe : Recipe
        By which it was made.
    pictures : int
        How many of the pictures that it keeps; all where it keeps fewer.
    chosen : sequence of str
        Maps, by their names in `atlas.store.audit.TITLES`; none means all that can be had.
    border : Border
        What of the recipe may be opened.

    Raises
    ------
    UserError
        The atlas is not finished, its network is another one now, or a map is unknown or cannot be
        had.
    """
    check_names(chosen)
    with alone(store):
        check_finished(store)
        inputs = Inputs(recipe, border=border)
        check_weights(store, inputs.network)
        tools = Tools(store, inputs)
        names = _names(chosen, tools)
        rows = _drawn(store.rows("images"), pictures, recipe.seed)
        seen = _pictures(store, inputs, rows)
        spread = torch.tensor(inputs.network.preprocessing.std).to(inputs.network.device)
        mappers = {name: tools.maps[name] for name in names}
        found = audit.sealed(Audit(
            version=VERSION,
            atlas=str(store.manifest()["id"]),
            sha256="",
            pictures=tuple(rows),
            seed=recipe.seed,
            composite=tools.rules.composite,
            cam_layer=tools.cam_layer if any("cam" in name for name in names) else None,
            object_share=object_share(seen),
            measures=MEASURES,
            figures=tuple(figures(tools.audited, mappers, seen, spread, recipe.seed)),
            left_out=() if chosen else tuple(tools.missing.values()),
        ))  # fmt: skip
        audit.write(found, store.root)
    return found


def check_names(chosen: Sequence[str]) -> None:
    """Refuse names that no map has."""
    if unknown := [name for name in chosen if name not in TITLES]:
        raise UserError(f"no map is called {unknown[0]!r}: there are {', '.join(TITLES)}")


def other_maps(
    store: Store, inputs: Inputs, chosen: Sequence[str]
) -> Callable[[Tensor, int], list[tuple[TestedMap, Tensor]]]:
    """Return what makes maps of a picture (1, ...) and a target, each with its test.

    Raises
    ------
    UserError
        A map is unknown or cannot be had.
    """
    check_names(chosen)
    tools = Tools(store, inputs)
    names = _names(chosen, tools, "explain.maps")

    def of(image: Tensor, target: int) -> list[tuple[TestedMap, Tensor]]:
        label = torch.tensor([target], device=image.device)
        found = []
        for name in names:
            map_ = tools.maps[name].of(image, label)[0].detach()
            curves = [
                tuple(heights(tools.audited, image, label, map_, inserted=inserted).tolist())
                for inserted in (False, True)
            ]
            found.append((TestedMap(name, *curves), map_))
        return found

    return of


class Tools:
    """The network with every map that it can have."""

    def __init__(self, store: Store, inputs: Inputs) -> None:
        network = inputs.network
        self.missing: dict[str, str] = {}
        """Maps that cannot be had, and why."""
        self.rules = self._rules(inputs)
        layers = network.trace.layers
        self.cam_layer = last_with_positions(
            {name: layer.shape for name, layer in layers.items() if layer.value is not None}
        )
        basis = self._basis(store)
        wanted = {self.cam_layer, None if basis is None else basis.layer}
        model = instrument(network.module, self.rules, [name for name in layers if name in wanted])
        self.audited = Audited(model)
        if self.cam_layer is None:
            reason = "the network has no layer with more than one position"
            self.missing |= {name: f"{TITLES[name]}: {reason}" for name in TITLES if "cam" in name}
        others: dict[str, MapOf] = {}
        if basis is not None:
            others["factors"] = partial(_of_factors, model, basis)
        engine = RelevanceEngine(model, pixels=True) if self.rules.composite else None
        size = network.preprocessing.size
        self.maps: dict[str, Mapper] = available(self.audited, size, self.cam_layer, engine, others)

    def _rules(self, inputs: Inputs) -> Plan:
        trace = inputs.network.trace
        try:
            return plan(trace, inputs.recipe.relevance.composite)
        except RefusedError as error:
            self.missing["lrp"] = f"{TITLES['lrp']}: {error}"[:300]
            return plan(trace, None)

    def _basis(self, store: Store) -> Basis | None:
        """Return the factors of the last layer that has some, if relevance comes there."""
        part = bases.factors(store)
        found = bases.read(part) if part else []
        reached = self.rules.reached if self.rules.composite else frozenset()
        layers = self.rules.trace.layers
        usable = [basis for basis in found if layers[basis.layer].value in reached]
        if not usable:
            reason = (
                "no relevance comes to them" if found else "the atlas has none (`atlas factors`)"
            )
            self.missing["factors"] = f"{TITLES['factors']}: {reason}"
            return None
        return usable[-1]


def _names(chosen: Sequence[str], tools: Tools, where: str = "--maps") -> list[str]:
    """Return the maps to measure, in their order; `where` they were chosen."""
    for name in chosen:
        if name in tools.missing:
            raise UserError(f"{tools.missing[name]}: leave {name} out of {where}")
    return [name for name in TITLES if name in tools.maps and (not chosen or name in chosen)]


def _of_factors(model: Instrumented, basis: Basis, images: Tensor, targets: Tensor) -> Tensor:
    """Return where the relevance comes from that is in factors, and not in the residual."""
    maps = []
    for image, target in zip(torch.split(images, 1), targets.tolist(), strict=True):
        measured = propagate(model, image, target)
        output = measured.activation[basis.layer][None]
        relevance = measured.relevance[basis.layer][None]
        found = factor_maps.of_activation(output, basis)
        every = range(len(basis.directions))
        part = factor_maps.parts(relevance, output, found, basis, every).sum(dim=0)
        maps.append(measured.send(basis.layer, part[None], []).heat[0])
    return torch.stack(maps)


def _drawn(count: int, wanted: int, seed: int) -> list[int]:
    """Return rows of pictures that are drawn by chance, the same ones every time."""
    return sorted(np.random.default_rng(seed).permutation(count)[:wanted].tolist())


def _pictures(store: Store, inputs: Inputs, rows: Sequence[int]) -> list[Pictured]:
    """Return the pictures of some rows, with the truth about them where they were drawn."""
    network, paths = inputs.network, store.pictures()
    data = inputs.recipe.data
    drawn = data.source == DRAWN
    indices = store.table("images", ["index"])["index"].to_pylist()
    found = []
    for row in rows:
        image = network.preprocessing.tensor([decode(paths[row])]).to(network.device)
        inside = None
        if drawn:
            mask = world.draw(data.seed, indices[row]).mask
            view = network.preprocessing.view(Image.fromarray(mask.astype(np.uint8) * 255))
            pixels = network.preprocessing.pixels(view)[..., 0] > 127
            inside = torch.from_numpy(pixels).to(network.device)
        found.append(Pictured(image, inside))
    return found
