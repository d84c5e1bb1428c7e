"""Where in a picture a word is: the relevance of the channels and factors whose names say it.

Of each layer one map is made. It is the sum of the maps of its channels and factors that are called
so, but for what a channel and a factor both hold, which counts once: at each unit the larger of the
two. Each such map is a part of the same logit, so that over layers their mean is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from atlas import classes
from atlas.api.contents import Channel, Contents
from atlas.data.images import BadImage, decode
from atlas.errors import UserError, one_line
from atlas.explain import bases
from atlas.explain.background import Background
from atlas.explain.conditional import Measured, propagate, shares
from atlas.explain.drawing import over
from atlas.explain.explaining import identify, image_files
from atlas.factors.concepts import FactorConcepts
from atlas.lookup import WordSearch
from atlas.pipeline.inputs import Inputs, check_weights
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Explain, Recipe
from atlas.relevance.engine import PREDICTED
from atlas.relevance.plan import plan
from atlas.relevance.tape import Instrumented, instrument
from atlas.store import Store, files
from atlas.store.joined import joined


@dataclass(frozen=True)
class WordMap:
    """Where a word is in a picture, for the network's answer."""

    picture: Path
    """The file that was asked about."""
    target: int
    """The output that is explained."""
    shares: Mapping[str, float]
    """By layer, or basis of factors, in the order of the network: the share of the relevance of its
    channels, or factors, that those of that name have, as explanations count it
    (`atlas.explain.conditional.shares`)."""
    layers: int
    """How many layers these are."""
    drawn: Path
    """The picture as the network saw it, with the map on it."""
    heat: Tensor
    """Relevance of the pixels (height, width): the mean over the layers, each a part of the
    target's logit. What a channel and a factor of a layer both hold counts once."""


@dataclass(frozen=True)
class WordMaps:
    """What became of the pictures."""

    done: tuple[WordMap, ...]
    """Those that are drawn."""
    failed: tuple[tuple[Path, str], ...]
    """Pictures that cannot be read, and why."""


@dataclass(frozen=True)
class _Called:
    """The channels and factors that are called so, and where they are."""

    numbers: Mapping[str, Sequence[int]]
    """By layer, or basis of factors, in the order of the network."""
    factors: Mapping[str, FactorConcepts]
    """The bases among them."""

    @property
    def hosts(self) -> dict[str, list[str]]:
        """The layers, each with those of `numbers` that are of it."""
        found: dict[str, list[str]] = {}
        for name in self.numbers:
            host = self.factors[name].layer if name in self.factors else name
            found.setdefault(host, []).append(name)
        return found


def named(contents: Contents, word: str, within: Sequence[str]) -> list[Channel]:
    """Return the channels and factors of which one name, or name of a sense, has all of some words.

    Parameters
    ----------
    contents : Contents
        Of an atlas.
    word : str
        The words.
    within : sequence of str
        The layers and bases of factors that may have them.

    Raises
    ------
    UserError
        None has.
    """
    every = WordSearch(contents).called(word)
    found = [one for one in every if one.layer in within]
    if every and not found:
        places = ", ".join(dict.fromkeys(one.layer for one in every))
        raise UserError(
            f"explain.layers and explain.basis leave out where channels or factors are called "
            f"{word!r}: {places}"
        )
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
) -> WordMaps:
    """Draw where in pictures a word is; one that cannot be read does not stop the others.

    Parameters
    ----------
    store : Store
        A finished atlas with names.
    recipe : Recipe
        Its recipe. Of `[explain]` it says which layers are looked at, all unless given, and whether
        channels, factors, or both are.
    images : sequence of Path
        Image files, and folders of them.
    word : str
        One word or several: all of them must stand in one name.
    out : Path
        The directory that gets the drawings.
    target : str, optional
        Name or number of the class to explain; the predicted one unless given.
    border : Border
        What of the recipe may be opened.

    Raises
    ------
    UserError
        No name has the word, or no relevance comes to the layers of those that have it.
    """
    contents = Contents(joined(store))
    label = PREDICTED if target is None else classes.find(target, contents.class_names)
    called = _called(contents, word, recipe.explain)
    paths = [path for given in images for path in image_files(given)]
    inputs = Inputs(recipe, border=border)
    network = inputs.network
    check_weights(store, network)
    rules = plan(network.trace, recipe.relevance.composite)
    reached = {
        layer for layer in called.hosts if network.trace.layers[layer].value in rules.reached
    }
    if not reached:
        raise UserError(
            f"no relevance comes to the layers with {word!r}: {', '.join(called.hosts)}"
        )
    kept = [name for host in called.hosts if host in reached for name in called.hosts[host]]
    called = _Called(
        {name: called.numbers[name] for name in kept},
        {name: called.factors[name] for name in kept if name in called.factors},
    )
    model = instrument(network.module, rules, [n for n in network.trace.layers if n in reached])
    added = f"{contents.id} {word} {called.numbers}"  # other sums are other drawings
    done: list[WordMap] = []
    failed: list[tuple[Path, str]] = []
    for path in paths:
        try:
            image = decode(path)
        except BadImage as error:
            failed.append((path, one_line(error)))
            continue
        view = network.preprocessing.view(image)
        seen = network.preprocessing.tensor([view]).to(network.device)
        answer, heat, shown = _measure(model, seen, label, called)
        id_ = identify(path.stem, files.sha256(path), added, label)
        drawn = out / f"{id_}.png"
        with files.atomic_path(drawn) as temporary:
            over(view, heat).save(temporary, "PNG")
        done.append(WordMap(path, answer, shown, len(called.hosts), drawn, heat))
    return WordMaps(tuple(done), tuple(failed))


def _called(contents: Contents, word: str, settings: Explain) -> _Called:
    """Return what is called so in the layers that are looked at, in the order of the network."""
    known = contents.bases
    background = Background(contents.store, {name: one.layer for name, one in known.items()})
    within = background.choose(settings.layers or ("*",), settings.basis)
    found: dict[str, list[int]] = {name: [] for name in within}
    for one in named(contents, word, within):
        found[one.layer].append(one.number)
    numbers = {name: several for name, several in found.items() if several}
    return _Called(
        numbers, {name: FactorConcepts(known[name]) for name in numbers if name in known}
    )


def _measure(
    model: Instrumented, image: Tensor, label: int, called: _Called
) -> tuple[int, Tensor, dict[str, float]]:
    """Return the output that is explained, the map of the pixels, and the shares."""
    measured = bases.seen(propagate(model, image, label), called.factors)
    heats = []
    for host, names in called.hosts.items():
        part = torch.zeros_like(measured.relevance[host])
        for name in names:
            other = _part(measured, name, called)
            part = torch.where(other.abs() > part.abs(), other, part)
        heats.append(measured.send(host, part[None, None], []).heat[0])
    shown = {
        name: float(shares(measured.relevance[name])[list(numbers)].sum())
        for name, numbers in called.numbers.items()
    }
    return measured.target, torch.stack(heats).mean(dim=0).cpu(), shown


def _part(measured: Measured, name: str, called: _Called) -> Tensor:
    """Return the relevance of a layer (channels, h, w) that is in its channels, or factors, so."""
    numbers = list(called.numbers[name])
    if name in called.factors:
        one = called.factors[name]
        of = measured.relevance[one.layer], measured.activation[one.layer]
        return one.parts(*of, measured.activation[name], numbers).sum(dim=(0, 1))
    relevance = measured.relevance[name]
    masked = torch.zeros_like(relevance)
    masked[numbers] = relevance[numbers]
    return masked
