"""Exact sums of products: which channels rise and fall together over all pictures.

Values of a picture lie in [-1, 1] and are rounded to a grid of 2**-`BITS`. A product of two of
them, and a sum of thousands of products, is then an integer that float64 holds exactly: a matrix
product of floats, quick everywhere, gives the same bits for any batch, order or device.
"""

import torch
from torch import Tensor

BITS = 20
"""Binary places of the grid; a batch may have 2**(53-2*BITS) = 8,192 pictures, a pass
2**(63-2*BITS)."""


def gridded(values: Tensor) -> Tensor:
    """Return values in [-1, 1] as whole multiples of 2**-`BITS`, in float64."""
    return (values.double() * 2.0**BITS).round()


def products(one: Tensor, other: Tensor) -> Tensor:
    """Return the sums over pictures of the products of gridded values.

    Parameters
    ----------
    one, other : Tensor
        (pictures, m) and (pictures, n), of `gridded`.

    Returns
    -------
    Tensor
        int64 (m, n), in units of 4**-`BITS`.
    """
    return (one.T @ other).to(torch.int64)


def correlation(
    both: Tensor, sums: tuple[Tensor, Tensor], squares: tuple[Tensor, Tensor], count: int
) -> Tensor:
    """Return Pearson's correlation over `count` pictures from running sums.

    Parameters
    ----------
    both : Tensor
        int64 (m, n), sums of products.
    sums, squares : tuple of Tensor
        int64 (m,) and (n,), sums of the gridded values and of their squares.
    count : int
        Pictures.

    Returns
    -------
    Tensor
        float64 (m, n), in [-1, 1]; 0 where one of the two never changes.
    """
    unit = float(count) * 4.0**BITS
    means = [total.double() / (count * 2.0**BITS) for total in sums]
    spreads = [
        (square.double() / unit - mean**2).clamp(min=0)
        for square, mean in zip(squares, means, strict=True)
    ]
    shared = both.double() / unit - means[0][:, None] * means[1][None]
    # What is as small as the grid is noise of rounding, not a course that could be compared.
    known = [spread > 4.0**-BITS for spread in spreads]
    size = (spreads[0][:, None] * spreads[1][None]).sqrt()
    possible = known[0][:, None] & known[1][None]
    return torch.where(possible, shared / size.clamp(min=1e-300), 0.0).clamp(-1, 1)
