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
from atlas.made.inputs import driving, inputs_alike
from atlas.made.judging import (
    NO_REFERENCE,
    LayerNorms,
    layer_maps,
    layer_norms,
    likeness,
    reach_and_rank,
)
from atlas.made.optimise import Goal, make_picture
from atlas.made.spectrum import Spectrum, of_pictures
from atlas.model.networks import Network
from atlas.pipeline.inputs import Inputs, check_weights, opened
from atlas.pipeline.stages import alone, check_finished
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Recipe
from atlas.relevance.plan import plan
from atlas.relevance.tape import Instrumented, instrument
from atlas.store import Store, bases, files, made
from atlas.store.made import KINDS, Kind, MadePicture
from atlas.store.pictures import read_picture

PICTURES = 256
"""Stored pictures, evenly spaced, whose spectrum is taken."""


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
    asked = {"fourier": settings.control, "accentuated": settings.accentuated}
    kinds = [kind for kind in KINDS if asked.get(kind, True)]
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
        One of `KINDS`.
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

    @property
    def network(self) -> Network:
        """The network that pictures are made for."""
        return self._inputs.network

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
        inputs, network, settings = self._inputs, self.network, self._settings
        norms = self._of_layer(layer)
        image = int(norms.best[channel, 0]) if kind == "accentuated" else None
        if image == NO_REFERENCE:
            raise UserError(f"{layer}:{channel} has no reference by activation to accentuate")
        goal = Goal(
            self._model, self._module(layer), self._direction(layer, channel),
            abs(float(norms.highest[channel])) or 1.0,
        )  # fmt: skip
        values = make_picture(
            goal, self._normalised, self._spectrum, settings.steps, settings.seed, kind,
            None if image is None else self._values(image),
        )  # fmt: skip
        pixels = (values * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        content = made.encoded(picture.convert("RGB"))
        stored = made.decoded(content)
        batch = network.preprocessing.tensor([stored]).to(network.device)
        (maps,) = layer_maps(inputs.activations, batch, layer)
        largest = maps.flatten(1).amax(dim=1).double().numpy()
        reach, rank = reach_and_rank(largest, norms.highest, channel)
        like = alike = None
        if image is None:  # else it is like the references since it began as one
            like = likeness(inputs.encoder, stored, maps[channel], norms.vectors, channel)
            alike = self.inputs_alike(layer, channel, stored)
        row = MadePicture(
            layer, channel, kind, settings.seed, settings.steps, float(largest[channel]), reach,
            rank, like, files.digest(content), image, alike,
        )  # fmt: skip
        made.write(self._part, row, content)
        return row

    def inputs_alike(self, layer: str, channel: int, picture: Image.Image) -> float | None:
        """Return how far the same inputs drive it on a made picture as on its references."""
        paths, network = self._part.pictures(), self.network
        best = [one for one in self._of_layer(layer).best[channel].tolist() if one != NO_REFERENCE]
        module, direction = self._module(layer), self._direction(layer, channel)
        mine, *references = (
            driving(
                self._model, network.preprocessing.tensor([one]).to(network.device),
                module, direction,
            )
            for one in (picture, *(read_picture(paths[image]) for image in best))
        )  # fmt: skip
        return inputs_alike(mine, references)

    def _of_layer(self, layer: str) -> LayerNorms:
        if layer not in self._norms:
            check_weights(self._part, self.network)
            self._norms[layer] = layer_norms(self._part, layer)
        return self._norms[layer]

    def _module(self, layer: str) -> str:
        """Return the layer of the network that a layer of the atlas, or a basis, is of."""
        places = dict(zip(self._inputs.measured_layers, self._inputs.layers, strict=True))
        return places[layer]

    def _normalised(self, pictures: Tensor) -> Tensor:
        network = self.network
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

    @cached_property
    def _model(self) -> Instrumented:
        network = self.network
        return instrument(network.module, plan(network.trace, None), self._inputs.layers)

    def _direction(self, layer: str, channel: int) -> Tensor:
        """Return what a layer's output is multiplied by."""
        for basis in self._inputs.bases:
            if basis.name == layer:
                return torch.from_numpy(basis.directions[channel])
        one = torch.zeros(len(self._norms[layer].highest))
        one[channel] = 1
        return one

    def _values(self, image: int) -> Tensor:
        """Return a stored picture (colours, height, width), values in [0, 1]."""
        picture = read_picture(self._part.pictures()[image])
        pixels = self._inputs.network.preprocessing.pixels(picture)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


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
