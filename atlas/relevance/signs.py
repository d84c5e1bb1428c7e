"""Which layers of a network never see a negative value, whatever the picture."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_aten = torch.ops.aten

_MAKES_POSITIVE = {_aten.relu, _aten.relu_, _aten.sigmoid, _aten._softmax}

_KEEPS_SIGN = {
    _aten.max_pool2d_with_indices,
    _aten.avg_pool2d,
    _aten._adaptive_avg_pool2d,
    _aten.mean,
    _aten.sum,
    _aten.cat,
    _aten.stack,
    _aten.add,
    _aten.mul,
    _aten.view,
    _aten._unsafe_view,
    _aten.reshape,
    _aten.flatten,
    _aten.squeeze,
    _aten.unsqueeze,
    _aten.expand,
    _aten.permute,
    _aten.transpose,
    _aten.slice,
    _aten.split,
    _aten.clone,
    _aten.detach,
    _aten.alias,
    _aten._to_copy,
}
"""Operations whose results are not negative if none of their tensors is."""


class _Signs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers of every tensor whether it follows from the operations that it has no minus."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._positive: dict[int, Tensor] = {}  # kept, so that no other gets its id

    def positive(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is known to have no minus."""
        return id(tensor) in self._positive

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        packet = func.overloadpacket
        positive = packet in _MAKES_POSITIVE or (
            packet in _KEEPS_SIGN
            and bool(inputs)
            and all(map(self.positive, inputs))
            and all(number >= 0 for number in _factors(packet, args, kwargs or {}))
        )
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                if positive:
                    self._positive[id(leaf)] = leaf
                else:
                    self._positive.pop(id(leaf), None)
        return result


def _factors(packet: Any, args: Any, kwargs: dict[str, Any]) -> list[float]:
    """Return the numbers that a sum (its `alpha` too) or product has besides tensors."""
    if packet not in (_aten.add, _aten.mul):
        return []
    return [one for one in (*args, *kwargs.values()) if isinstance(one, (int, float))]


@torch.no_grad()
def never_negative(module: nn.Module, picture: Tensor) -> frozenset[str]:
    """Return the names of the convolutions whose input has no negative values.

    That follows from how the network is made (behind a ReLU, perhaps through pooling,
    concatenation or sums), not from the values of the one picture that is run through it.

    Parameters
    ----------
    module : nn.Module
        The network.
    picture : Tensor
        (1, 3, height, width).
    """
    signs = _Signs()
    found: set[str] = set()
    denied: set[str] = set()

    def hook(part: nn.Module, inputs: tuple[Tensor, ...], name: str) -> None:
        (found if signs.positive(inputs[0]) else denied).add(name)

    handles = [
        part.register_forward_pre_hook(lambda part, inputs, name=name: hook(part, inputs, name))
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv2d)
    ]
    try:
        with signs:
            module(picture)
    finally:
        for handle in handles:
            handle.remove()
    return frozenset(found - denied)
