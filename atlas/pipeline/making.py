"""Pictures that channels and factors would like, made for a finished atlas."""

import fnmatch
from collections.abc import Sequence
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from atlas import addresses
from atlas.errors import UserError
from atlas.made.judging import LayerNorms, layer_maps, layer_norms, likeness, reach_and_rank
from atlas.made.optimise import layer_output, make_picture
from atlas.made.spectrum import Spectrum, of_pictures
from atlas.pipeline.inputs import Inputs, check_weights, opened
from atlas.pipeline.stages import alone, check_finished
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Recipe
from atlas.relevance.engine import ActivationEngine, to_maps
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.store import Store, bases, files, made
from atlas.store.made import KINDS, Kind, MadePicture
from atlas.store.pictures import read_picture

PICTURES = 256
"""Stored pictures, evenly spaced, whose spectrum is taken."""

COMPARED = 8
"""Stored pictures on which a module's output is compared with what is measured of it."""


def make_pictures(store: Store, recipe: Recipe, border: Border = OWN) -> int:
    """Make the pictures that a recipe asks for in `[pictures_made]`, as far as they are not there.

    Returns
    -------
    int
        How many were made.

    Raises
    ------
    UserError
        It names a layer or an address that the atlas lacks, or as of `make_one`.
    """
    settings = recipe.pictures_made
    wanted = _wanted(store, settings.layers, settings.addresses)
    kinds: tuple[Kind, ...] = KINDS if settings.control else KINDS[:1]
    count = 0
    with alone(store):
        for part, channels in wanted:
            maker = Maker(part, recipe, border)
            for layer, channel in tqdm(channels, "pictures made", unit=" channels"):
                for kind in kinds:
                    if maker.known(layer, channel, kind) is None:
                        maker.make(layer, channel, kind)
                        count += 1
    return count


def make_one(
    store: Store, recipe: Recipe, address: str, kind: Kind = "maco", border: Border = OWN
) -> MadePicture:
    """Make a picture for one channel or factor, unless it is there with these steps and this seed.

    Parameters
    ----------
    store : Store
        A finished atlas.
    recipe : Recipe
        Its recipe; of its table `[pictures_made]` steps and seed count, and may have changed.
    address : str
        `LAYER:CHANNEL`.
    kind : str
        `maco` or `fourier`.
    border : Border
        What of the recipe may be opened.

    Raises
    ------
    UserError
        There is no such channel, the atlas is not finished, has no activations, or its network is
        another one now.
    """
    ((part, ((layer, channel),)),) = _wanted(store, (), (address,))
    with alone(store):
        maker = Maker(part, recipe, border)
        return maker.known(layer, channel, kind) or maker.make(layer, channel, kind)


class Maker:
    """Makes pictures for the channels of an atlas, or of the part of one that has its factors."""

    def __init__(self, part: Store, recipe: Recipe, border: Border) -> None:
        self._part = part
        self._settings = recipe.pictures_made
        self._inputs: Inputs = opened(part, recipe, border)
        self._norms: dict[str, LayerNorms] = {}
        self._slopes: dict[str, Tensor] = {}

    def known(self, layer: str, channel: int, kind: Kind) -> MadePicture | None:
        """Return the picture if it is there as it would be made."""
        row = made.read(self._part).get((layer, channel, kind))
        asked = self._settings.steps, self._settings.seed
        if row is None or (row.steps, row.seed) != asked:
            return None
        path = made.path(self._part, row)
        return row if path.is_file() and files.sha256(path) == row.sha256 else None

    def make(self, layer: str, channel: int, kind: Kind) -> MadePicture:
        """Make a picture, look what came of it and keep both."""
        inputs, settings = self._inputs, self._settings
        network = inputs.network
        if layer not in self._norms:
            check_weights(self._part, network)
            self._norms[layer] = layer_norms(self._part, layer)
        norms = self._norms[layer]
        values = make_picture(
            network.module, self._normalised, self._module(layer), self._direction(layer, channel),
            self._spectrum, settings.steps, settings.seed, kind,
        )  # fmt: skip
        pixels = (values * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        content = made.encoded(picture.convert("RGB"))
        stored = made.decoded(content)
        batch = network.preprocessing.tensor([stored]).to(network.device)
        (maps,) = layer_maps(inputs.activations, batch, layer)
        largest = maps.flatten(1).amax(dim=1).double().numpy()
        reach, rank = reach_and_rank(largest, norms.highest, channel)
        like = likeness(inputs.encoder, stored, maps[channel], norms.vectors, channel)
        row = MadePicture(
            layer, channel, kind, settings.seed, settings.steps, float(largest[channel]), reach,
            rank, like, files.digest(content),
        )  # fmt: skip
        made.write(self._part, row, content)
        return row

    def _module(self, layer: str) -> str:
        """Return the layer of the network that a layer of the atlas, or a basis, is of."""
        places = dict(zip(self._inputs.measured_layers, self._inputs.layers, strict=True))
        return places[layer]

    def _normalised(self, pictures: Tensor) -> Tensor:
        network = self._inputs.network
        found = pictures.to(network.device)
        mean, std = (
            torch.tensor(values, device=network.device).view(-1, 1, 1)
            for values in (network.preprocessing.mean, network.preprocessing.std)
        )
        return (found - mean) / std

    @cached_property
    def _spectrum(self) -> Spectrum:
        paths = self._part.pictures()
        chosen = paths[:: -(-len(paths) // PICTURES)]
        view = self._inputs.network.preprocessing.pixels
        return of_pictures(view(read_picture(path)) for path in chosen)

    def _direction(self, layer: str, channel: int) -> Tensor:
        """Return what the output of the network's module is multiplied by."""
        slopes = self._slope(self._module(layer))
        for basis in self._inputs.bases:
            if basis.name == layer:
                return torch.from_numpy(basis.directions[channel]) * slopes
        one = torch.zeros(len(slopes))
        one[channel] = slopes[channel]
        return one

    def _slope(self, layer: str) -> Tensor:
        """Return by what a norm behind a module, which counts to the layer, multiplies its output.

        What is measured of a channel is slope x output + constant. Both are looked at on a few
        pictures; where the output is everywhere the same, the slope is taken to be 1.
        """
        if layer not in self._slopes:
            network = self._inputs.network
            paths = self._part.pictures()[:COMPARED]
            views = network.preprocessing.tensor([read_picture(path) for path in paths])
            batch = views.to(network.device)
            own = layer_output(network.module, batch, layer).detach()
            engine = ActivationEngine(
                instrument(network.module, plan(network.trace, None), [layer])
            )
            measured = torch.cat([layer_maps(engine, one[None], layer) for one in batch])
            self._slopes[layer] = slopes(to_maps(own).float().cpu(), measured)
        return self._slopes[layer]


def slopes(output: Tensor, measured: Tensor) -> Tensor:
    """Return a for each channel, where measured = a x output + b, both (pictures, channels, h, w).

    1 where the output is everywhere the same.
    """
    ours, theirs = (maps.double().transpose(0, 1).flatten(1) for maps in (output, measured))
    ours, theirs = (rows - rows.mean(dim=1, keepdim=True) for rows in (ours, theirs))
    spread = (ours * ours).sum(dim=1)
    return torch.where(
        spread > 0, (ours * theirs).sum(dim=1) / spread.clamp(min=1e-30), 1.0
    ).float()


def _wanted(
    store: Store, layers: Sequence[str], chosen: Sequence[str]
) -> list[tuple[Store, list[tuple[str, int]]]]:
    """Return channels by patterns of layers and by addresses, in the parts of the atlas.

    Raises
    ------
    UserError
        The atlas is not finished or has no activations, a pattern matches no layer, or an address
        is of no channel.
    """
    check_finished(store)
    found, known, matched = [], [], set()
    for part in bases.parts(store):
        table = part.table("channels", ["layer", "channel", "act_max"])
        if table["act_max"].null_count:
            raise UserError(
                f"{store.root} has no activations, with which made pictures are compared: build it "
                'with prepass.modes = ["relevance", "activation"]'
            )
        pairs = list(zip(table["layer"].to_pylist(), table["channel"].to_pylist(), strict=True))
        matched |= {p for p in layers for one, _ in pairs if fnmatch.fnmatchcase(one, p)}
        mine = [
            pair
            for pair in pairs
            if f"{pair[0]}:{pair[1]}" in chosen
            or any(fnmatch.fnmatchcase(pair[0], pattern) for pattern in layers)
        ]
        known += [f"{layer}:{channel}" for layer, channel in pairs]
        found += [(part, mine)] if mine else []
    for address in chosen:
        if address not in known:
            raise addresses.unknown(address, known, store.manifest()["id"])
    for pattern in layers:
        if pattern not in matched:
            raise UserError(
                f"pictures_made.layers: {pattern!r} is no layer of {store.manifest()['id']}, which "
                f"has {', '.join(dict.fromkeys(a.rpartition(':')[0] for a in known))[:200]}"
            )
    return found
