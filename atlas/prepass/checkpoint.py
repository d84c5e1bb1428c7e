"""The state of an unfinished pre-pass on the disk: whole, or as it was before."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from atlas.prepass import classpictures, shards, tally
from atlas.prepass.exactsum import ExactSum
from atlas.prepass.shards import Done
from atlas.prepass.tally import LayerTally, RelevanceTally, Seen, Tally
from atlas.prepass.topk import TopK
from atlas.store import Mode, files

NAME = "prepass.safetensors"
"""In the atlas directory, while the pre-pass is not finished."""


def save(path: Path, inputs: str, done: Done, state: Tally) -> None:
    """Write a checkpoint.

    Parameters
    ----------
    path : Path
        Where to.
    inputs : str
        Fingerprint of what the pass measures; a checkpoint of something else is ignored.
    done : Done
        The samples that the tally holds.
    state : Tally
        The running results.
    """
    files.write_bytes(path, pack(state, {"inputs": inputs, "read": shards.flat(done)}))


def load(
    path: Path, inputs: str, device: torch.device
) -> tuple[dict[int, shards.Read], Tally] | None:
    """Read a checkpoint: the samples done and the running results.

    Returns
    -------
    tuple or None
        None if there is none, it is of another pass, or it cannot be read (then the pass
        begins anew, which costs time and nothing else).
    """
    try:
        state, facts = unpack(path.read_bytes(), device)
        done = shards.unflat(facts["read"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return (done, state) if facts["inputs"] == inputs else None


def pack(state: Tally, facts: Mapping[str, Any]) -> bytes:
    """Return a tally, and `facts` about it, as the content of a safetensors file."""
    tensors, layers = {}, []
    for number, (name, layer) in enumerate(state.layers.items()):
        layers.append([name, layer.height, layer.width])
        for field, tensor in _tensors(layer):
            tensors[f"{number}/{field}"] = tensor.cpu().contiguous()
    tensors["class_count"] = state.class_count
    tensors["samples"], sampled = classpictures.packed(classpictures.lowest(state.samples))
    tensors["logit_abs_sum"] = state.logit_abs_sum.total
    facts = {
        **facts,
        "modes": state.modes,
        "layers": layers,
        "numbers": [getattr(state, name) for name in _NUMBERS],
        "seen": [[index, *astuple(seen)] for index, seen in state.seen.items()],
        "skips": state.skips,
        "samples": sampled,
        "reasons": state.reasons,
    }
    # As a tensor: they grow with the pictures seen, and a header may have 100 MB only.
    text = bytearray(json.dumps(facts).encode())
    return serialize({**tensors, "facts": torch.frombuffer(text, dtype=torch.uint8)})


def unpack(content: bytes, device: torch.device) -> tuple[Tally, dict[str, Any]]:
    """Return the tally and the facts of what `pack` has made.

    Raises
    ------
    SafetensorError, KeyError, ValueError
        It is something else.
    """
    loaded = deserialize(content)
    facts = json.loads(loaded.pop("facts").numpy().tobytes())
    tensors = {name: tensor.to(device) for name, tensor in loaded.items()}
    modes = tuple(facts["modes"])
    state = Tally(**dict(zip(_NUMBERS, facts["numbers"], strict=True)), modes=modes)
    state.class_count = tensors["class_count"].cpu()
    state.logit_abs_sum = ExactSum(tensors["logit_abs_sum"].cpu(), tally.VALUE_BITS)
    for number, (name, height, width) in enumerate(facts["layers"]):
        fields = {key: tensors[f"{number}/{key}"] for key in _fields(state)}
        state.layers[name] = _layer(height, width, state, fields)
    state.seen = {index: Seen(*known) for index, *known in facts["seen"]}
    state.skips = [(index, key, reason) for index, key, reason in facts["skips"]]
    state.reasons = facts["reasons"]
    state.samples = classpictures.unpacked(tensors["samples"], facts["samples"])
    return state, facts


_NUMBERS = (
    "k", "outputs", "per_band", "seed", "fired_by_class", "images", "labelled", "correct",
    "skipped",
)  # fmt: skip

_RELEVANCE_SUMS = {
    "share_sum": tally.SHARE_BITS,
    "share_abs_sum": tally.SHARE_BITS,
    "class_share_sum": tally.SHARE_BITS,
    "relevance_sum": tally.VALUE_BITS,
}

_PLACES = ("scores", "indices", "peaks")

_WHOLE = ("maximum", "positive_count", "histogram", "gridded_sum", "product_sum")
"""Tensors of a layer that are written as they are."""

_FIRED = "class_fired_sum"

_RELEVANCE_WHOLE = ("gridded_sum", "gridded_square_sum", "lower_product_sum")
"""Tensors of a layer's relevance that are written as they are."""


def _fields(state: Tally) -> list[str]:
    """Return the names of a layer's tensors."""
    lists = [*state.modes, *(["bands"] if state.per_band else [])]
    places = [f"{name}/{place}" for name in lists for place in _PLACES]
    sums = _sums(state.modes)
    whole = [f"relevance/{name}" for name in _RELEVANCE_WHOLE] if sums else []
    fired = [_FIRED] if state.fired_by_class else []
    return [*places, "mean_sum", *_WHOLE, *fired, *sums, *whole]


def _sums(modes: tuple[Mode, ...]) -> dict[str, int]:
    return _RELEVANCE_SUMS if "relevance" in modes else {}


def _tensors(layer: LayerTally) -> Iterator[tuple[str, Tensor]]:
    lists: dict[str, TopK] = dict(layer.top.items())
    if layer.bands is not None:
        lists["bands"] = layer.bands
    for name, kept in lists.items():
        for place in _PLACES:
            yield f"{name}/{place}", getattr(kept, place)
    yield "mean_sum", layer.mean_sum.total
    for name in _WHOLE:
        yield name, getattr(layer, name)
    if layer.class_fired_sum is not None:
        yield _FIRED, layer.class_fired_sum.total
    if layer.relevance is None:
        return
    for name in _RELEVANCE_SUMS:
        yield name, getattr(layer.relevance, name).total
    for name in _RELEVANCE_WHOLE:
        yield f"relevance/{name}", getattr(layer.relevance, name)


def _layer(height: int, width: int, state: Tally, fields: dict[str, Tensor]) -> LayerTally:
    def places(name: str) -> TopK:
        return TopK(*(fields[f"{name}/{place}"] for place in _PLACES))

    modes = state.modes
    relevance: dict[str, Any] = {
        **{name: ExactSum(fields[name], bits) for name, bits in _sums(modes).items()},
        **{name: fields[f"relevance/{name}"] for name in _RELEVANCE_WHOLE if _sums(modes)},
    }
    return LayerTally(
        height=height,
        width=width,
        top={mode: places(mode) for mode in modes},
        bands=places("bands") if state.per_band else None,
        mean_sum=ExactSum(fields["mean_sum"], tally.VALUE_BITS),
        **{name: fields[name] for name in _WHOLE},
        class_fired_sum=ExactSum(fields[_FIRED], tally.SHARE_BITS)
        if state.fired_by_class
        else None,
        relevance=RelevanceTally(**relevance) if relevance else None,
    )
