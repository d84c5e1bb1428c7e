"""A user's module made plain: what compiles, replicates or delays it is taken away.

An atlas looks into a network while it computes, so the layers have to be Python modules
that hold numbers in float32. What can be brought into that form is, with a line on stderr
where the numbers change; the rest is refused in one line.
"""

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from tqdm import tqdm

from atlas.errors import UserError, one_line

PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(module: nn.Module, name: str) -> nn.Module:
    """Return the plain module inside `module`, ready to be filled with weights.

    torch.compile is undone, DataParallel and DistributedDataParallel are taken off, numbers of
    other precision become float32, and tensors made in inference mode become usual ones.

    Parameters
    ----------
    module : nn.Module
        What a factory returned; its parts are changed in place.
    name : str
        The network, for messages.

    Raises
    ------
    UserError
        It is a TorchScript program, or its parameters hold no numbers.
    """
    compiled = False
    while (inner := _inside(module)) is not None:
        compiled |= _compiled(module)
        module = inner
    for part in list(module.modules()):
        for key, child in list(part._modules.items()):  # also those that stand there twice
            while child is not None and (inner := _inside(child)) is not None:
                compiled |= _compiled(child)
                child = inner  # noqa: PLW2901
                part._modules[key] = child
    for part in module.modules():
        compiled |= _interpreted(part)
    if compiled:
        _say(f"{name} is compiled: its layers are run as they are, so that they can be looked into")
    _refuse(module, name)
    _usual(module)
    _in_float32(module, name)
    return module


def settled(module: nn.Module, name: str) -> nn.Module:
    """Return `module` in evaluation mode, its weights plain numbers; to be called once filled.

    Weights that a layer computes from others (weight norm, spectral norm) are computed once.

    Raises
    ------
    UserError
        A layer has no weights yet, or the module cannot be evaluated, or not wholly.
    """
    for key, value in _tensors(module):
        if is_lazy(value):
            raise UserError(
                f"{name}: {key!r} is lazy and has no shape yet: call the network once in the "
                "factory, or give its weights in model.weights"
            )
    try:
        module.eval()
    except Exception as error:  # exported programs refuse, a user's own `train` can do anything
        raise UserError(
            f"{name} cannot be put into evaluation mode ({one_line(error)[:120]}): "
            "give the torch.nn.Module itself"
        ) from error
    for key, part in module.named_modules():
        if part.training and (does := _by_training(part)):
            raise UserError(
                f"{name}: layer {key!r} stays in training mode when the network is put into "
                f"evaluation mode (its class or the network's has a `train` of its own), where it "
                f"{does}: let eval() switch it too"
            )
        _computed_once(part)
    return module


def _by_training(part: nn.Module) -> str:
    """Return what a layer does in training mode that makes answers other than its own."""
    if isinstance(part, _DropoutNd) and part.p > 0:
        return "drops numbers by chance"
    learnt = isinstance(part, _NormBase) and part.running_mean is not None
    batch = learnt or isinstance(part, _BatchNorm)
    return "normalises by the pictures that it is given, not as it has learnt" if batch else ""


def _inside(module: nn.Module) -> nn.Module | None:
    """Return the module that a wrapper wraps; None of what is no wrapper."""
    if _compiled(module):
        inner = module._orig_mod
    elif isinstance(module, PARALLEL):
        inner = module.module
    else:
        return None
    assert isinstance(inner, nn.Module)
    return inner


def _compiled(module: nn.Module) -> bool:
    """Return whether `torch.compile` made a module; importing its part of torch takes a second."""
    dynamo = sys.modules.get("torch._dynamo")
    return dynamo is not None and isinstance(module, dynamo.OptimizedModule)


def _interpreted(part: nn.Module) -> bool:
    """Undo `part.compile()` and a compiled `forward`; return whether there was any."""
    compiled = part._compiled_call_impl is not None
    part._compiled_call_impl = None
    original: Callable[..., Any] | None = getattr(part.forward, "_torchdynamo_orig_callable", None)
    if original is None:
        return compiled
    original = inspect.unwrap(original)
    own = "forward" in vars(part)  # not of its class, and so without `self`
    part.forward = original if own else types.MethodType(original, part)
    return True


def _refuse(module: nn.Module, name: str) -> None:
    for key, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            what = f"its part {key!r}" if key else "it"
            raise UserError(
                f"{name}: {what} is a TorchScript program, which cannot be looked into: "
                "give the Python module, and its weights in model.weights"
            )
    for key, value in _tensors(module):
        if value.is_meta:
            raise UserError(
                f"{name}: {key!r} is on the meta device and holds no numbers: "
                "make the network on the CPU"
            )


def _usual(module: nn.Module) -> None:
    """Replace tensors that were made in inference mode, in which nothing can be derived."""
    copies: dict[int, Tensor] = {}
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for key, value in tensors.items():
                if value is None or is_lazy(value) or not value.is_inference():
                    continue
                if id(value) not in copies:
                    copy = value.detach().clone()
                    is_parameter = isinstance(value, nn.Parameter)
                    copies[id(value)] = nn.Parameter(copy) if is_parameter else copy
                tensors[key] = copies[id(value)]  # type: ignore[assignment]


def _in_float32(module: nn.Module, name: str) -> None:
    kinds = {
        str(value.dtype).removeprefix("torch.")
        for _, value in _tensors(module)
        if value.is_floating_point() and value.dtype != torch.float32
    }
    if kinds:
        _say(f"{name} has weights in {' and '.join(sorted(kinds))}: they are turned into float32")
        module.float()


def _computed_once(part: nn.Module) -> None:
    if parametrize.is_parametrized(part):
        for key, _ in list(part.parametrizations.named_children()):  # type: ignore[union-attr]
            parametrize.remove_parametrizations(part, key, leave_parametrized=True)
    for number, hook in list(part._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm | SpectralNorm):
            hook.remove(part)  # makes the weight a parameter again
            del part._forward_pre_hooks[number]


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _say(line: str) -> None:
    tqdm.write(line, sys.stderr)
