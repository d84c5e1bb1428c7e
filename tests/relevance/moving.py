"""Networks that move their maps inside, and where their units look, by gradients in float64."""

import copy
import functools
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlas.trace.sights import ReceptiveField

SIZE = 64


def permuted(n: int, chance: random.Random) -> Tensor:
    return torch.tensor(chance.sample(range(n), n))


def _matrix(x: Tensor, chance: random.Random) -> Tensor:
    return torch.eye(x.shape[2], dtype=x.dtype)[permuted(x.shape[2], chance)]


def _pixel_shuffled(x: Tensor, chance: random.Random) -> Tensor:
    """Within the quarters of a map each pixel goes to another place."""
    n, c, h, _ = x.shape
    y = F.pixel_unshuffle(x, h // 2).view(n, c, -1, 2, 2)
    return F.pixel_shuffle(y[:, :, permuted(y.shape[2], chance)].reshape(n, -1, 2, 2), h // 2)


def _tiles(x: Tensor, chance: random.Random) -> Tensor:
    """A puzzle of four by four pieces."""
    n, c, h, w = x.shape
    y = x.view(n, c, 4, h // 4, 4, w // 4).permute(0, 1, 2, 4, 3, 5).flatten(2, 3)
    y = y[:, :, permuted(16, chance)].view(n, c, 4, 4, h // 4, w // 4)
    return y.permute(0, 1, 2, 4, 3, 5).reshape(n, c, h, w)


def _halves(x: Tensor, dim: int) -> Tensor:
    one, other = x.chunk(2, dim)
    return torch.cat([other, one], dim)


def _unbound(x: Tensor, dim: int) -> Tensor:
    return torch.stack(x.unbind(dim)[::-1], dim)


def _circular(x: Tensor, by: int) -> Tensor:
    return F.pad(x, (by, 0, by, 0), mode="circular")[:, :, : x.shape[2], : x.shape[3]]


def _riffled(x: Tensor, parts: int) -> Tensor:
    """Rows in another order, as a riffle of cards."""
    n, c, h, w = x.shape
    return x.view(n, c, parts, h // parts, w).transpose(2, 3).reshape(n, c, h, w)


def _folded(x: Tensor, chance: random.Random) -> Tensor:
    h, w = x.shape[2:]
    y = F.unfold(x, h // 4, stride=h // 4)
    return F.fold(y[:, :, permuted(y.shape[2], chance)], (h, w), h // 4, stride=h // 4)


def _where(x: Tensor) -> Tensor:
    left = torch.arange(x.shape[3]) < x.shape[3] // 2
    return torch.where(left, x.flip(3), x.roll(x.shape[3] // 2, 3))


def _rolled(x: Tensor, by: int) -> Tensor:
    return torch.cat([x.narrow(3, by, x.shape[3] - by), x.narrow(3, 0, by)], 3)


def _split(x: Tensor, dim: int) -> Tensor:
    quarter = x.shape[dim] // 4
    a, b, c = x.split([quarter, 2 * quarter, quarter], dim)
    return torch.cat([c, b, a], dim)


MOVES: dict[str, Callable[[Tensor, random.Random], Tensor]] = {
    "rot90": lambda x, r: torch.rot90(x, r.choice((1, 2, 3)), (2, 3)),
    "flip": lambda x, r: x.flip(r.choice(((2,), (3,), (2, 3)))),
    "transpose": lambda x, r: x.transpose(2, 3),
    "permute": lambda x, r: x.permute(0, 1, 3, 2),
    "mT": lambda x, r: x.mT,
    "roll": lambda x, r: x.roll(x.shape[2] // r.choice((2, 4, 8)), r.choice((2, 3))),
    "roll both": lambda x, r: x.roll((x.shape[2] // r.choice((2, 4, 8)), 3), (2, 3)),
    "index_select": lambda x, r: x.index_select(r.choice((2, 3)), permuted(x.shape[2], r)),
    "index": lambda x, r: x[:, :, permuted(x.shape[2], r)],
    "index both": lambda x, r: x[:, :, permuted(x.shape[2], r)[:, None], permuted(x.shape[3], r)],
    "gather": lambda x, r: x.gather(3, permuted(x.shape[3], r).expand(x.shape)),
    "take_along_dim": lambda x, r: x.take_along_dim(
        permuted(x.shape[2], r)[None, None, :, None], 2
    ),
    "swapped halves": lambda x, r: _halves(x, r.choice((2, 3))),
    "split": lambda x, r: _split(x, r.choice((2, 3))),
    "pixel shuffle": _pixel_shuffled,
    "puzzle": _tiles,
    "fold": _folded,
    "riffle": lambda x, r: _riffled(x, r.choice((2, 4))),
    "circular padding": lambda x, r: _circular(x, x.shape[2] // r.choice((2, 4))),
    "unbind": lambda x, r: _unbound(x, r.choice((2, 3))),
    "rows one by one": lambda x, r: torch.cat(
        [x[:, :, i : i + 1] for i in reversed(range(x.shape[2]))], 2
    ),
    "flat": lambda x, r: x.flatten(2).flip(2).view(x.shape),
    "flat transposed": lambda x, r: x.flatten(2).mT.flip(1).mT.reshape(x.shape),
    "flat roll": lambda x, r: x.flatten(2).roll(x.shape[2] * x.shape[3] // 2, 2).view(x.shape),
    "matrix left": lambda x, r: _matrix(x, r) @ x,
    "matrix right": lambda x, r: x @ _matrix(x, r),
    "linear": lambda x, r: F.linear(x, _matrix(x, r)),
    "einsum": lambda x, r: torch.einsum("bchw,hk->bckw", x, _matrix(x, r)),
    "where": lambda x, r: _where(x),
    "rows as columns": lambda x, r: x.permute(0, 1, 3, 2).reshape(x.shape),
    "narrow": lambda x, r: _rolled(x, x.shape[3] // 4),
    "twice": lambda x, r: torch.rot90(x.flip(2), 1, (2, 3)),
}
"""Ways of moving a square map, with choices by chance."""


class Moving(nn.Module):
    """A small network that moves its maps at one place.

    Parameters
    ----------
    move : callable
        Of (B, C, H, W).
    place : int
        From 0, the picture itself, to 3.
    manner : str
        "plain", "gated", "residual", "normed" or "deep".
    """

    def __init__(self, move: Callable[[Tensor], Tensor], place: int, manner: str) -> None:
        super().__init__()
        self.move, self.place, self.manner = move, place, manner
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.one, self.two, self.three = (nn.Conv2d(8, 8, 3, 1, 1) for _ in range(3))
        self.more = nn.ModuleList([nn.Conv2d(8, 8, 3, 1, 1) for _ in range(5)])
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.norm, self.head = nn.GroupNorm(2, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self._at(0, x)
        x = self._at(1, self.stem(x).relu())
        if self.manner == "gated":
            x = x * self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        if self.manner == "normed":
            x = self.norm(x)
        y = self._at(2, self.one(x).relu())
        x = x + y if self.manner == "residual" else y
        x = self._at(3, F.max_pool2d(self.two(x).relu(), 2))
        for layer in self.more if self.manner == "deep" else ():
            x = layer(x).relu()
        return self.head(self.three(x).relu().mean((2, 3)))

    def _at(self, place: int, x: Tensor) -> Tensor:
        return self.move(x) if place == self.place else x


def network(name: str, seed: int) -> Moving:
    """Return a network that moves maps in a way of `MOVES`; the rest is by chance."""
    chance = random.Random(f"{name} {seed}")
    torch.manual_seed(chance.randrange(10**6))
    manner = chance.choice(("plain", "plain", "gated", "residual", "normed", "deep"))
    moved = functools.partial(_moved, MOVES[name], chance.randrange(10**6))
    made = Moving(moved, chance.randrange(4), manner).eval()
    with torch.no_grad():
        for part in made.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)
    return made.requires_grad_(False)


def _moved(move: Callable[[Tensor, random.Random], Tensor], seed: int, x: Tensor) -> Tensor:
    return move(x, random.Random(seed))


def inside(module: Moving, layer: str, field: ReceptiveField, images: Tensor, side: int) -> float:
    """Return the least part of a unit's gradient that lies in its box, gates left out.

    Parameters
    ----------
    module : Moving
        The network; its gates and statistics are switched off.
    layer : str
        Name of a layer.
    field : ReceptiveField
        Where its units are taken to stand.
    images : Tensor
        (pictures, 3, height, width).
    side : int
        So many units of each row and column are looked at.
    """
    local = copy.deepcopy(module).double()
    local.manner = "plain" if module.manner in ("gated", "normed") else module.manner
    found: list[Tensor] = []
    handle = dict(local.named_modules())[layer].register_forward_hook(
        lambda part, inputs, output: found.append(output)
    )
    pictures = images.double().requires_grad_()
    local(pictures)
    handle.remove()
    (output,) = found
    least = 1.0
    rows, columns = (torch.linspace(0, n - 1, side).round().int() for n in output.shape[2:])
    for y in rows.unique().tolist():
        for x in columns.unique().tolist():
            (gradient,) = torch.autograd.grad(output[:, :, y, x].sum(), pictures, retain_graph=True)
            mass = gradient.abs().sum((0, 1))
            x0, y0, x1, y1 = field.box(y, x, (images.shape[2], images.shape[3]))
            if mass.sum() > 0:
                least = min(least, float(mass[y0:y1, x0:x1].sum() / mass.sum()))
    return least
