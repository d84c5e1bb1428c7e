"""Whether a network answers by what it was first called with.

Some networks keep something of their first picture (its mean, a scale, a cache of maps) and use it
for all others. What they answer then depends on who called them first. A twin, copied before the
first call, is called first with another picture; where it answers as the network does, what the
first call filled (a table of positions, say) does no harm.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from atlas.errors import UserError
from atlas.model.calling import Pick
from atlas.trace.state import changed, state_of

SAME = 1e-4
"""Answers are the same if they differ by at most this part of the largest."""


def twin_of(module: nn.Module) -> nn.Module | None:
    """Return a copy of a network that has the same parameters; None if it cannot be copied."""
    if any(map(is_lazy, module.parameters())):
        return None
    shared = {id(one): one for one in module.parameters()}
    try:
        twin: nn.Module = copy.deepcopy(module, shared)
    except Exception:  # whatever a user's network holds: locks, files, tensors with gradients
        return None
    return twin


@torch.no_grad()
def refuse_first_call(
    module: nn.Module, twin: nn.Module | None, picture: Tensor, name: str
) -> None:
    """Refuse a network whose answers depend on the picture that it was first called with.

    Parameters
    ----------
    module : nn.Module
        It has been called once.
    twin : nn.Module or None
        From `twin_of`, before that.
    picture : Tensor
        The picture of that call.
    name : str
        The network, for messages.

    Raises
    ------
    UserError
        They do.
    """
    if twin is None:
        return
    now = state_of(module)
    filled = changed(state_of(twin), now)
    if not filled:
        return
    for hook in module._forward_hooks.values():
        if isinstance(hook, Pick):
            twin.register_forward_hook(hook)
    other = picture.flip(-1) / -2
    try:
        own, again, fresh = module(other.clone()), module(other.clone()), twin(other.clone())
    except Exception:  # which the calls to come report
        return
    if changed(now, state_of(module, attributes=False)):
        return  # by each call, which is reported as such
    allowed = SAME * float(own.abs().max())
    if float((own - again).abs().max()) <= allowed < float((own - fresh).abs().max()):
        raise UserError(
            f"{name} fills {filled!r} when it is first called, and its answers to all other "
            "pictures depend on which picture that was: give it as it is after training, or call "
            "it in the factory with what it is meant to keep"
        )
