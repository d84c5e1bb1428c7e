"""Whether a network answers by what it was first called with.

Some networks keep something of their first picture (its mean, a scale, a cache of maps) and use it
for all others. What they answer then depends on who called them first. A twin, copied before the
first call, is called first with another picture; where it answers as the network does, what the
first call filled (a table of positions, say) does no harm.
"""

import contextlib
import copy

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from atlas.errors import UserError
from atlas.model.calling import Pick
from atlas.trace.batches import unlike
from atlas.trace.state import changed, snapshot, state_of

SAME = 1e-4
"""Answers are the same if they differ by at most this part of the largest."""


class Twin:
    """A network as it was before its first call.

    Parameters
    ----------
    module : nn.Module
        It has not been called. Its parameters are shared.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module: nn.Module | None = None
        """None where the network cannot be copied."""
        self.restore = snapshot(module)
        """Brings back what it had in its classes and files, which a copy shares."""
        self.state = state_of(module)
        if not any(map(is_lazy, module.parameters())):
            shared = {id(one): one for one in module.parameters()}
            with contextlib.suppress(Exception):  # a network may hold locks, files and the like
                self.module = copy.deepcopy(module, shared)


@torch.no_grad()
def refuse_first_call(module: nn.Module, twin: Twin, picture: Tensor, name: str) -> None:
    """Refuse a network whose answers depend on the picture that it was first called with.

    Parameters
    ----------
    module : nn.Module
        It has been called once.
    twin : Twin
        It before that.
    picture : Tensor
        The picture of that call.
    name : str
        The network, for messages.

    Raises
    ------
    UserError
        They do.
    """
    now = state_of(module)
    filled = changed(twin.state, now)
    if not filled or twin.module is None:
        return
    for hook in module._forward_hooks.values():
        if isinstance(hook, Pick):
            twin.module.register_forward_hook(hook)
    other = unlike(picture)
    try:
        own, again = module(other.clone()), module(other.clone())
        if changed(now, state_of(module, attributes=False)):
            return  # by each call, which is reported as such
        forth = snapshot(module)
        twin.restore()
        fresh = twin.module(other.clone())
        forth()
    except Exception:  # which the calls to come report
        return
    allowed = SAME * float(own.abs().max())
    if float((own - again).abs().max()) <= allowed < float((own - fresh).abs().max()):
        raise UserError(
            f"{name} fills {filled!r} when it is first called, and its answers to all other "
            "pictures depend on which picture that was: give it as it is after training, or call "
            "it in the factory with what it is meant to keep"
        )
