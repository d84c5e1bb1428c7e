"""Sparse autoencoders: factors of which only a few may be active at a position.

The output a of a layer at a position is encoded as u = max(0, E a + b), of which the `active`
largest numbers are kept, and decoded as u W (TopK: Gao et al. 2024, "Scaling and evaluating sparse
autoencoders"; for concepts of vision networks Fel et al. 2025). The directions W have length 1;
where the layer's output is never negative they are kept so too, which on planted directions finds
more of them. Factors that were silent for long learn from what the others leave over.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atlas.factors.nmf import Factorisation, Matrix
from atlas.store.bases import SparseEncoder

STEPS = 2000
"""Steps of training."""

BATCH = 256
"""Positions of a step."""

RATE = 1e-3
"""Rate of learning (Adam); it falls to 0 over the last fifth of the steps."""

SILENT = 20
"""Steps without being active after which a factor learns from what is left over."""

REVIVAL = 1 / 8
"""Weight of that beside what all factors learn."""


@dataclass(frozen=True)
class Autoencoder(Factorisation):
    """A trained autoencoder, as a factorisation of what it was trained on."""

    encoder: SparseEncoder
    """What finds the coefficients."""


def coefficients(outputs: Tensor, encoder: SparseEncoder) -> Tensor:
    """Return the coefficients of the factors, row by row.

    Parameters
    ----------
    outputs : Tensor
        (positions, channels).
    encoder : SparseEncoder
        Of the autoencoder.

    Returns
    -------
    Tensor
        (positions, factors), of the type of `outputs`, none negative; at most `encoder.active` of a
        row are above 0. Computed in float64, so that a row depends on no other.
    """
    weights, bias, offset, lengths = (
        torch.from_numpy(array).to(outputs.device).double()
        for array in (encoder.weights, encoder.bias, encoder.offset, encoder.lengths)
    )
    found = _largest((outputs.double() - offset) @ weights.T + bias, encoder.active)
    return (found * lengths).to(outputs.dtype)


def train(
    matrix: Matrix, size: int, active: int, seed: int, device: torch.device, *, signed: bool
) -> Autoencoder:
    """Train an autoencoder on positions of a layer.

    Parameters
    ----------
    matrix : array
        float32 (positions, channels).
    size : int
        How many factors; may be more than channels.
    active : int
        How many may be active at a position, at most `size`.
    seed : int
        Of the positions that the directions begin as, and of the batches.
    device : torch.device
        Where it is trained. The same device gives the same numbers.
    signed : bool
        Whether directions may be negative.

    Returns
    -------
    Autoencoder
        Its factors by falling energy.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(matrix)
    rows = rows[rows.norm(dim=1) > 0]
    if not len(rows):  # a silent layer: directions of nothing, as NMF has them
        rows = torch.ones(1, matrix.shape[1])
    # Of mean square length 1, so that the rate of learning fits every layer.
    scale = float(rows.square().sum(dim=1).mean().sqrt())
    rows = rows / scale
    drawn = torch.randperm(len(rows), generator=generator)
    begun = rows[drawn[torch.arange(size) % len(rows)]]
    begun = (begun / begun.norm(dim=1, keepdim=True)).to(device)
    module = _Module(begun, active)
    batches = (
        rows[torch.randint(len(rows), (BATCH,), generator=generator)].to(device)
        for _ in range(STEPS)
    )
    with torch.enable_grad():
        module.learn(batches, float(rows.square().mean()), signed=signed)
    directions, weights, bias = (
        part.detach().cpu().numpy() for part in (module.directions, module.weights, module.bias)
    )
    # One that was pushed to nothing is a direction all the same.
    empty = np.linalg.norm(directions, axis=1, keepdims=True) < 0.5
    directions = np.where(empty, np.float32(directions.shape[1] ** -0.5), directions)
    encoder = SparseEncoder(
        weights, bias * np.float32(scale), np.zeros(matrix.shape[1], np.float32),
        np.ones(size, np.float32), active,
    )  # fmt: skip
    return measured(matrix, directions, encoder)


def measured(matrix: Matrix, directions: Matrix, encoder: SparseEncoder) -> Autoencoder:
    """Return an autoencoder with its factors by falling energy, and how much they hold.

    Parameters
    ----------
    matrix : array
        float32 (positions, channels).
    directions : array
        float32 (factors, channels), of length 1.
    encoder : SparseEncoder
        What finds the coefficients.
    """
    rows = torch.from_numpy(matrix)
    found = coefficients(rows, encoder)
    left = rows - torch.from_numpy(encoder.offset) - found @ torch.from_numpy(directions)
    total = float(rows.double().square().sum())
    squares = found.double().square().sum(dim=0).numpy()
    order = np.argsort(-squares, kind="stable")
    return Autoencoder(
        directions[order],
        1.0 - float(left.double().square().sum()) / total if total else 0.0,
        (squares / max(squares.sum(), 1e-30))[order].astype(np.float32),
        SparseEncoder(
            encoder.weights[order], encoder.bias[order], encoder.offset, encoder.lengths[order],
            encoder.active,
        ),
    )  # fmt: skip


def _largest(values: Tensor, count: int) -> Tensor:
    """Return values (rows, factors) with all but the `count` largest of each row, or those, 0."""
    kept = torch.zeros_like(values)
    kept.scatter_(1, values.topk(count, dim=1).indices, 1.0)
    return values.clamp(min=0) * kept


class _Module:
    """The numbers that are learned.

    Parameters
    ----------
    begun : Tensor
        (factors, channels) of length 1: what directions and encoder begin as.
    active : int
        How many factors may be active at once.
    """

    def __init__(self, begun: Tensor, active: int) -> None:
        self.directions = begun.clone().requires_grad_()
        self.weights = begun.clone().requires_grad_()
        self.bias = torch.zeros(len(begun), device=begun.device, requires_grad=True)
        self._active = active

    def learn(self, batches: Iterable[Tensor], spread: float, *, signed: bool) -> None:
        """Learn from batches of positions whose mean square is `spread`."""
        parameters = [self.directions, self.weights, self.bias]
        optimiser = torch.optim.Adam(parameters, lr=RATE)
        silent = torch.zeros(len(self.bias), device=self.bias.device)
        for step, batch in enumerate(batches):
            optimiser.param_groups[0]["lr"] = RATE * min(1.0, 5 * (1 - step / STEPS))
            values = batch @ self.weights.T + self.bias
            found = _largest(values, self._active)
            left = batch - found @ self.directions
            loss = left.square().mean()
            silent = torch.where((found > 0).any(dim=0), 0.0, silent + 1)
            if (asleep := silent > SILENT).any():
                loss = loss + REVIVAL * self._of_silent(values, asleep, left.detach())
            optimiser.zero_grad()
            (loss / spread).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                if not signed:
                    self.directions.clamp_(min=0)
                self.directions /= self.directions.norm(dim=1, keepdim=True).clamp(min=1e-8)

    def _of_silent(self, values: Tensor, asleep: Tensor, left: Tensor) -> Tensor:
        """Return how far silent factors are from what the others leave over."""
        count = min(self._active, int(asleep.sum()))
        found = _largest(values.masked_fill(~asleep, -1e9), count)
        return (found @ self.directions - left).square().mean()
