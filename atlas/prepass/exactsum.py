"""Sums whose value does not depend on the order of their terms.

Floating-point addition rounds, so that a mean over a data set would depend on how its
pictures were batched. Here every term is first rounded to a fixed grid; from then on
additions of 64-bit integers are exact, in any order and on any number of processes. A sum that
would leave their range is refused: it would go on with another sign.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

RANGE = 2.0**62
"""Steps of a grid that a sum may have; half of what fits, so that sums may be compared."""


class RangeError(Exception):
    """A sum has left the range in which it is exact."""


@dataclass
class ExactSum:
    """A running sum on a grid of 2**-`bits`, to which terms are added in place.

    With `bits` fraction bits, terms are exact to 2**-(bits+1) and the sum may reach
    2**(62-bits).
    """

    total: Tensor
    bits: int

    def add_all(self, terms: Tensor) -> None:
        """Add terms[0], terms[1], ..., each of the shape of `total`.

        Raises
        ------
        RangeError
            The sum would leave its range; it is as it was.
        """
        reach = self.total.double().abs() + terms.double().abs().sum(dim=0) * 2.0**self.bits
        check(reach)
        self.total.add_(quantise(terms, self.bits).sum(dim=0))

    def add_rows(self, rows: Tensor, terms: Tensor) -> None:
        """Add `terms[i]` to row `rows[i]` of the sum, for every i.

        The range is for the caller to watch: looking at all rows would take longer than adding.
        """
        self.total.index_add_(0, rows, quantise(terms, self.bits))

    def __add__(self, other: "ExactSum") -> "ExactSum":
        """Return the sum of the terms of both.

        Raises
        ------
        RangeError
            It leaves the range.
        """
        check(self.total.double().abs() + other.total.double().abs())
        return ExactSum(self.total + other.total, self.bits)

    def value(self) -> Tensor:
        """Return the sum as float64, in main memory."""
        return self.total.cpu().double() / 2.0**self.bits


def check(reach: Tensor) -> None:
    """Refuse sums that reach, in steps of their grid, beyond the range.

    Raises
    ------
    RangeError
        One does, or is no number.
    """
    if reach.numel() and not bool((reach < RANGE).all()):
        raise RangeError


def zeros(*shape: int, bits: int, device: torch.device | None = None) -> ExactSum:
    """Return an empty sum of the given shape."""
    return ExactSum(torch.zeros(shape, dtype=torch.int64, device=device), bits)


def quantise(terms: Tensor, bits: int) -> Tensor:
    """Round float terms to multiples of 2**-`bits`; return how many, as int64."""
    return (terms.double() * 2.0**bits).round().to(torch.int64)
