"""The state of an unfinished pre-pass on the disk: whole, or as it was before."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from atlas import files, tally
from atlas.exactsum import ExactSum
from atlas.store import MODES
from atlas.tally import LayerTally, Seen, Tally
from atlas.topk import TopK

NAME = "prepass.safetensors"
"""In the atlas directory, while the pre-pass is not finished."""


def save(path: Path, inputs: str, done: int, state: Tally) -> None:
    """Write a checkpoint.

    Parameters
    ----------
    path : Path
        Where to.
    inputs : str
        Fingerprint of what the pass measures; a checkpoint of something else is ignored.
    done : int
        Samples of the source, from its start, that the tally holds.
    state : Tally
        The running results.
    """
    tensors, layers = {}, []
    for number, (name, layer) in enumerate(state.layers.items()):
        layers.append([name, layer.height, layer.width])
        for field, tensor in _tensors(layer):
            tensors[f"{number}/{field}"] = tensor.cpu().contiguous()
    tensors["class_count"], tensors["initial"] = state.class_count, state.initial.total
    facts = {
        "inputs": inputs,
        "done": done,
        "layers": layers,
        "numbers": [getattr(state, name) for name in _NUMBERS],
        "seen": [[i, seen.key, seen.label, seen.predicted] for i, seen in state.seen.items()],
        "skips": state.skips,
    }
    with files.atomic_path(path) as temporary:
        save_file(tensors, temporary, {"facts": json.dumps(facts)})


def load(path: Path, inputs: str, device: torch.device) -> tuple[int, Tally] | None:
    """Read a checkpoint: the samples done and the running results.

    Returns
    -------
    tuple or None
        None if there is none, it is of another pass, or it cannot be read (then the pass
        begins anew, which costs time and nothing else).
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            facts = json.loads(file.metadata()["facts"])
            if facts["inputs"] != inputs:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    state = Tally(**dict(zip(_NUMBERS, facts["numbers"], strict=True)))
    state.class_count = tensors["class_count"].cpu()
    state.initial = ExactSum(tensors["initial"].cpu(), tally.VALUE_BITS)
    for number, (name, height, width) in enumerate(facts["layers"]):
        fields = {key: tensors[f"{number}/{key}"] for key in _FIELDS}
        state.layers[name] = _layer(height, width, fields)
    state.seen = {i: Seen(key, label, predicted) for i, key, label, predicted in facts["seen"]}
    state.skips = [(index, key, reason) for index, key, reason in facts["skips"]]
    return facts["done"], state


_NUMBERS = ("k", "outputs", "images", "labelled", "correct", "skipped")

_SUMS = {
    "act_sum": tally.VALUE_BITS,
    "rel_sum": tally.SHARE_BITS,
    "rel_abs_sum": tally.SHARE_BITS,
    "class_sum": tally.SHARE_BITS,
    "flow": tally.VALUE_BITS,
}

_PLACES = ("scores", "indices", "peaks")

_FIELDS = (
    *(f"{mode}/{place}" for mode in MODES for place in _PLACES),
    *_SUMS,
    "act_max",
    "positive",
)


def _tensors(layer: LayerTally) -> Iterator[tuple[str, Tensor]]:
    for mode in MODES:
        for place in _PLACES:
            yield f"{mode}/{place}", getattr(layer.top[mode], place)
    for name in _SUMS:
        yield name, getattr(layer, name).total
    yield "act_max", layer.act_max
    yield "positive", layer.positive


def _layer(height: int, width: int, fields: dict[str, Tensor]) -> LayerTally:
    sums: dict[str, Any] = {name: ExactSum(fields[name], bits) for name, bits in _SUMS.items()}
    return LayerTally(
        height=height,
        width=width,
        top={mode: TopK(*(fields[f"{mode}/{place}"] for place in _PLACES)) for mode in MODES},
        act_max=fields["act_max"],
        positive=fields["positive"],
        **sums,
    )
