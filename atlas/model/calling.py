"""A user's network called: where it was when it failed, and which of its outputs are logits."""

import functools
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from atlas.errors import UserError, one_line
from atlas.model.preprocessing import Preprocessor

_NOT_THE_USERS = (Path(torch.__file__).parent, Path(__file__).parents[1])
"""Folders whose code is not what a user would mend."""


@dataclass(frozen=True)
class Frame:
    """A layer that is being called."""

    name: str
    module: nn.Module
    inputs: tuple[Any, ...]


class Whereabouts:
    """A context in which it is known which layer of a network is being called.

    After a failure `layers` holds the layers that were entered and not left.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.layers: list[Frame] = []

    def __enter__(self) -> "Whereabouts":
        self._handles = []
        for name, part in self.module.named_modules():
            enter = functools.partial(self._enter, name)
            self._handles.append(part.register_forward_pre_hook(enter))
            self._handles.append(part.register_forward_hook(self._leave))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.layers.append(Frame(name, module, inputs))

    def _leave(self, module: nn.Module, inputs: object, output: object) -> None:
        while self.layers.pop().module is not module:  # a failure inside that was caught
            pass

    def describe(self, error: BaseException) -> str:
        """Return where and what `error` is: "layer 'body.1' (net.py:12): ValueError: ..."."""
        inner = self.layers[-1].name if self.layers else ""
        place = f"layer {inner!r}" if inner else "its forward"
        line = _line(error.__traceback__)
        text = f"{type(error).__name__}: {one_line(error)[:200]}"
        return f"{place} ({line}): {text}" if line else f"{place}: {text}"


def outputs(
    module: nn.Module, view: Preprocessor, device: torch.device, output: str | int, name: str
) -> int:
    """Return the number of a classifier's logits, after having seen that it is one.

    Where the network returns more than one tensor, a hook on it picks the logits from now on,
    so that whoever calls it gets them alone.

    Parameters
    ----------
    module : nn.Module
        The network, in evaluation mode on `device`.
    view : Preprocessor
        What its pictures are like.
    device : torch.device
        Where the network is.
    output : str or int
        The entry of what it returns that holds the logits; empty means that it is clear.
    name : str
        The network, for messages.

    Raises
    ------
    UserError
        The network fails or is no classifier, or `output` is needed or names nothing.
    """
    picture = noise(view, device)
    with torch.no_grad(), Whereabouts(module) as whereabouts:
        try:
            result = module(picture)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a user's own network raises
            raise UserError(_refusal(error, whereabouts, picture, name)) from error
    if not isinstance(result, Tensor) or output != "":
        pick = Pick(_entry(result, output, name))
        module.register_forward_hook(pick)
        result = pick(module, (), result)
    if not isinstance(result, Tensor) or result.ndim != 2 or len(result) != 1:
        raise UserError(
            f"{name} is no classifier: for one picture it returns {_kind(result)}, not (1, N)"
        )
    return result.shape[1]


@dataclass(frozen=True)
class Pick:
    """A forward hook that hands on one entry of what a network returns."""

    key: str | int

    def __call__(self, module: nn.Module, inputs: object, output: Any) -> Any:
        """Return the entry of `output`."""
        return _entries(output)[self.key]


def noise(view: Preprocessor, device: torch.device) -> Tensor:
    """Return a picture whose pixels are noise, normalised, of shape (1, C, H, W), always the same.

    Its numbers lie where those of pictures do, as networks may insist on it.
    """
    size = (view.crop, view.crop) if isinstance(view.crop, int) else tuple(view.crop)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, *size, len(view.mean)), generator=generator)
    return view.normalize(pixels.to(torch.uint8)).to(device)


def _refusal(error: Exception, where: Whereabouts, picture: Tensor, name: str) -> str:
    """Return why a network does not take a picture, and how to mend that."""
    channels, height, width = picture.shape[1:]
    for frame in where.layers[-1:]:
        wanted = getattr(frame.module, "in_channels", None)
        seen = next((one for one in frame.inputs if isinstance(one, Tensor)), None)
        if (
            seen is not None
            and seen.shape[:2] == picture.shape[:2]
            and wanted not in (None, channels)
        ):
            taken = f"{name}: its first layer {frame.name!r} takes {wanted} channel(s) of a picture"
            if wanted in (1, 3):
                kind = {1: "grey", 3: "coloured"}[wanted]
                return (
                    f"{taken}, and preprocessing.mean has {channels} number(s): set "
                    f"preprocessing.mean and std to {wanted} each, for {kind} pictures"
                )
            return f"{taken}: pictures have 3, or 1 where they are grey; no others can be measured"
    if _of_types(error):
        return (
            f"{name} computes in several precisions, at {where.describe(error)}: its weights are "
            "float32 here, whatever they were, so take .double(), .half(), .bfloat16(), "
            "torch.autocast and the like out of its code"
        )
    refusal = (
        f"{name} does not take a picture of {height} x {width} pixels: {where.describe(error)}"
    )
    sized = any(word in str(error) for word in ("size", "shape", "dimension"))
    return f"{refusal}; see preprocessing.crop" if sized else refusal


def _of_types(error: Exception) -> bool:
    """Return whether an operation met numbers of other precision than its weights'."""
    says = str(error).lower()
    types = ("double", "float", "half", "bfloat16")
    same = ("should be the same", "same dtype", "expected scalar type", "dtype")
    return any(one in says for one in same) and sum(one in says for one in types) > 1


def _entry(result: object, output: str | int, name: str) -> str | int:
    """Return the key in what a network returns that `output`, or nothing else, can mean."""
    if isinstance(result, Tensor):
        raise UserError(f"{name} returns one tensor: leave model.output out")
    entries = _entries(result)
    if not entries:
        raise UserError(
            f"{name} is no classifier: for one picture it returns {_kind(result)}, not (1, N)"
        )
    if output in entries:
        return output
    if output == "" and ("logits" in entries or len(entries) == 1):
        return "logits" if "logits" in entries else next(iter(entries))
    known = ", ".join(f"{key}: {_kind(value)}" for key, value in list(entries.items())[:12])
    asked = "returns several things" if output == "" else f"has no output {output!r}"
    raise UserError(f"{name} {asked}: choose the logits with model.output from {known}")


def _entries(result: Any) -> dict[str | int, Any]:
    """Return the named or numbered entries of what a network returned."""
    entries: dict[Any, Any] = {}
    if isinstance(result, Mapping):  # also the output objects of transformers
        entries = dict(result)
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        entries = dict(zip(result._fields, result, strict=True))
    elif isinstance(result, Sequence) and not isinstance(result, str):
        entries = dict(enumerate(result))
    elif is_dataclass(result):
        entries = {field.name: getattr(result, field.name) for field in fields(result)}
    return entries


def _kind(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _line(trace: TracebackType | None) -> str:
    """Return "file.py:12", the innermost line of code that is neither torch's nor ours."""
    for frame in reversed(traceback.extract_tb(trace)):
        path = Path(frame.filename)
        if path.suffix == ".py" and not any(path.is_relative_to(one) for one in _NOT_THE_USERS):
            return f"{path.name}:{frame.lineno}"
    return ""
