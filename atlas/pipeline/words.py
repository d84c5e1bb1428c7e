"""Where in a picture a word is: the relevance of the channels and factors whose names say it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from atlas import classes
from atlas.api.contents import Channel, Contents
from atlas.data.images import decode
from atlas.errors import UserError
from atlas.explain.conditional import Measured, propagate
from atlas.explain.drawing import over
from atlas.explain.explaining import identify, image_files
from atlas.factors import maps
from atlas.lookup import Conditions, WordSearch
from atlas.pipeline.inputs import Inputs, check_weights
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Recipe
from atlas.relevance.engine import PREDICTED
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.store import Store, files
from atlas.store.bases import Basis
from atlas.store.joined import joined


@dataclass(frozen=True)
class WordMap:
    """Where a word is in a picture, for the network's answer."""

    picture: Path
    """The file that was asked about."""
    target: int
    """The output that is explained."""
    shares: Mapping[str, float]
    """By layer, or basis of factors: the part of its relevance that is in concepts of that name."""
    drawn: Path
    """The picture as the network saw it, with the map on it."""
    heat: Tensor
    """Relevance of the pixels (height, width): the mean over the layers of the summed maps of
    their concepts, each a part of the target's logit."""


def named(contents: Contents, word: str) -> list[Channel]:
    """Return the channels and factors whose names, or names of senses, have all of some words.

    Raises
    ------
    UserError
        None has.
    """
    hits = WordSearch(contents).search(word, len(contents), Conditions())
    found = [
        hit.channel
        for hit in hits
        if hit.kind in ("name", "words") and not hit.lacking and {"name", "senses"} & {*hit.found}
    ]
    if not found:
        raise UserError(
            f"no channel or factor of {contents.store.root} is called {word!r}: `atlas lookup` "
            "finds names that are near, `atlas name` gives names"
        )
    return found


def word_maps(
    store: Store,
    recipe: Recipe,
    images: Sequence[Path],
    word: str,
    out: Path,
    target: str | None = None,
    border: Border = OWN,
) -> list[WordMap]:
    """Draw where in pictures a word is.

    Parameters
    ----------
    store : Store
        A finished atlas with names.
    recipe : Recipe
        Its recipe.
    images : sequence of Path
        Image files, and folders of them.
    word : str
        One word or several, as in `atlas lookup`.
    out : Path
        The directory that gets the drawings.
    target : str, optional
        Name or number of the class to explain; the predicted one unless given.
    border : Border
        What of the recipe may be opened.

    Raises
    ------
    UserError
        No name has the word, no relevance comes to the layers of those that have it, or a picture
        cannot be read.
    """
    contents = Contents(joined(store))
    label = PREDICTED if target is None else classes.find(target, contents.class_names)
    chosen: dict[str, list[int]] = {}
    for one in named(contents, word):
        chosen.setdefault(one.layer, []).append(one.number)
    inputs = Inputs(recipe, border=border)
    network = inputs.network
    check_weights(store, network)
    rules = plan(network.trace, recipe.relevance.composite)
    known = contents.bases
    of = {name: known[name].layer if name in known else name for name in chosen}
    reached = {layer for layer in of.values() if network.trace.layers[layer].value in rules.reached}
    chosen = {name: numbers for name, numbers in chosen.items() if of[name] in reached}
    if not chosen:
        raise UserError(f"no relevance comes to the layers with {word!r}")
    model = instrument(network.module, rules, [n for n in network.trace.layers if n in reached])
    found = []
    for path in (file for given in images for file in image_files(given)):
        view = network.preprocessing.view(decode(path))
        image = network.preprocessing.tensor([view]).to(network.device)
        measured = propagate(model, image, label)
        parts = {
            name: _part(measured, of[name], known.get(name), numbers)
            for name, numbers in chosen.items()
        }
        heats = [measured.send(of[name], part[None], []).heat[0] for name, part in parts.items()]
        heat = torch.stack(heats).mean(dim=0).cpu()
        wholes = {name: measured.relevance[of[name]].sum() for name in chosen}
        shares = {
            name: float(part.sum() / wholes[name]) if wholes[name] else 0.0
            for name, part in parts.items()
        }
        id_ = identify(path.stem, files.sha256(path), f"{contents.id} {word}", label)
        drawn = out / f"{id_}.png"
        with files.atomic_path(drawn) as temporary:
            over(view, heat).save(temporary, "PNG")
        found.append(WordMap(path, measured.target, shares, drawn, heat))
    return found


def _part(measured: Measured, layer: str, basis: Basis | None, numbers: Sequence[int]) -> Tensor:
    """Return the relevance of a layer that is in some of its channels, or some of its factors."""
    relevance = measured.relevance[layer][None]
    if basis is None:
        masked = torch.zeros_like(relevance)
        masked[:, numbers] = relevance[:, numbers]
        return masked
    output = measured.activation[layer][None]
    found = maps.of_activation(output, basis)
    return maps.parts(relevance, output, found, basis, numbers).sum(dim=0)
