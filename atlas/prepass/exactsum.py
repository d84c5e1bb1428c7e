"""Sums whose value does not depend on the order of their terms.

Floating-point addition rounds, so that a mean over a data set would depend on how its
pictures were batched. Here every term is first rounded to a fixed grid; from then on
additions of 64-bit integers are exact, in any order and on any number of processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ExactSum:
    """A running sum on a grid of 2**-`bits`.

    With `bits` fraction bits, terms are exact to 2**-(bits+1) and the sum may reach
    2**(63-bits).
    """

    total: Tensor
    bits: int

    def add_all(self, terms: Tensor) -> None:
        """Add terms[0], terms[1], ..., each of the shape of `total`."""
        self.total.add_(quantise(terms, self.bits).sum(dim=0))

    def add_rows(self, rows: Tensor, terms: Tensor) -> None:
        """Add `terms[i]` to row `rows[i]` of the sum, for every i."""
        self.total.index_add_(0, rows, quantise(terms, self.bits))

    def __add__(self, other: "ExactSum") -> "ExactSum":
        """Return the sum of the terms of both."""
        return ExactSum(self.total + other.total, self.bits)

    def value(self) -> Tensor:
        """Return the sum as float64, in main memory."""
        return self.total.cpu().double() / 2.0**self.bits


def zeros(*shape: int, bits: int, device: torch.device | None = None) -> ExactSum:
    """Return an empty sum of the given shape."""
    return ExactSum(torch.zeros(shape, dtype=torch.int64, device=device), bits)


def quantise(terms: Tensor, bits: int) -> Tensor:
    """Round float terms to multiples of 2**-`bits`; return how many, as int64."""
    return (terms.double() * 2.0**bits).round().to(torch.int64)
