"""The state of an unfinished pre-pass on the disk: whole, or as it was before."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from atlas.prepass import shards, tally
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
    tensors["class_count"], tensors["initial"] = state.class_count, state.initial.total
    facts = {
        **facts,
        "modes": state.modes,
        "layers": layers,
        "numbers": [getattr(state, name) for name in _NUMBERS],
        "seen": [[i, seen.key, seen.label, seen.predicted] for i, seen in state.seen.items()],
        "skips": state.skips,
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
    state.initial = ExactSum(tensors["initial"].cpu(), tally.VALUE_BITS)
    for number, (name, height, width) in enumerate(facts["layers"]):
        fields = {key: tensors[f"{number}/{key}"] for key in _fields(modes)}
        state.layers[name] = _layer(height, width, modes, fields)
    state.seen = {i: Seen(key, label, predicted) for i, key, label, predicted in facts["seen"]}
    state.skips = [(index, key, reason) for index, key, reason in facts["skips"]]
    state.reasons = facts["reasons"]
    return state, facts


_NUMBERS = ("k", "outputs", "images", "labelled", "correct", "skipped")

_RELEVANCE_SUMS = {
    "rel_sum": tally.SHARE_BITS,
    "rel_abs_sum": tally.SHARE_BITS,
    "class_sum": tally.SHARE_BITS,
    "flow": tally.VALUE_BITS,
}

_PLACES = ("scores", "indices", "peaks")

_WHOLE = ("act_max", "positive", "histogram", "grid_sum", "together")
"""Tensors of a layer that are written as they are."""

_RELEVANCE_WHOLE = ("grid_sum", "squares", "below")
"""And of its relevance."""


def _fields(modes: tuple[Mode, ...]) -> list[str]:
    """Return the names of a layer's tensors."""
    tops = [f"{mode}/{place}" for mode in modes for place in _PLACES]
    whole = [f"relevance/{name}" for name in _RELEVANCE_WHOLE] if _sums(modes) else []
    return [*tops, "act_sum", *_WHOLE, *_sums(modes), *whole]


def _sums(modes: tuple[Mode, ...]) -> dict[str, int]:
    return _RELEVANCE_SUMS if "relevance" in modes else {}


def _tensors(layer: LayerTally) -> Iterator[tuple[str, Tensor]]:
    for mode, top in layer.top.items():
        for place in _PLACES:
            yield f"{mode}/{place}", getattr(top, place)
    yield "act_sum", layer.act_sum.total
    for name in _WHOLE:
        yield name, getattr(layer, name)
    if layer.relevance is None:
        return
    for name in _RELEVANCE_SUMS:
        yield name, getattr(layer.relevance, name).total
    for name in _RELEVANCE_WHOLE:
        yield f"relevance/{name}", getattr(layer.relevance, name)


def _layer(
    height: int, width: int, modes: tuple[Mode, ...], fields: dict[str, Tensor]
) -> LayerTally:
    relevance: dict[str, Any] = {
        **{name: ExactSum(fields[name], bits) for name, bits in _sums(modes).items()},
        **{name: fields[f"relevance/{name}"] for name in _RELEVANCE_WHOLE if _sums(modes)},
    }
    return LayerTally(
        height=height,
        width=width,
        top={mode: TopK(*(fields[f"{mode}/{place}"] for place in _PLACES)) for mode in modes},
        act_sum=ExactSum(fields["act_sum"], tally.VALUE_BITS),
        **{name: fields[name] for name in _WHOLE},
        relevance=RelevanceTally(**relevance) if relevance else None,
    )
