"""Maps of factors in place of those of channels: of their coefficients, and of their relevance.

A layer's output a is about u W at each position, with the coefficients u of the factors W. Of the
relevance of channel c there, factor k gets the part of the channel's output that it makes,
u_k W_kc / max(sum over j of u_j W_jc, a_c). Where outputs or directions have a sign, the sizes
|u_j W_jc| and |a_c| stand below the line, and a factor that points away from the output gets its
part with the other sign. What is left is the *residual*: what no factor holds. So maps of factors
and residual add up to the layer's map, and can be sent on down like that of a channel (cf. Achtibat
et al. 2023, section 4.2, for channels; Fel et al. 2023 scale the coefficients up to the picture
instead).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from atlas.factors import nnls, sae
from atlas.relevance.engine import PIXELS, Engine, Visit
from atlas.store import Mode
from atlas.store.bases import Basis


def rectified(output: Tensor, basis: Basis) -> Tensor:
    """Return what the network goes on with of a layer's output, (pictures, channels, h, w)."""
    return output.float().clone() if basis.signed else output.float().clamp(0, basis.ceiling)


def directions(basis: Basis, device: torch.device) -> Tensor:
    """Return the directions of a basis, (factors, channels)."""
    return torch.from_numpy(basis.directions).to(device)


def of_activation(output: Tensor, basis: Basis) -> Tensor:
    """Return the coefficients of the factors at each position.

    Parameters
    ----------
    output : Tensor
        (pictures, channels, height, width), of the layer.
    basis : Basis
        Its factors.

    Returns
    -------
    Tensor
        float32 (pictures, factors, height, width), none negative.
    """
    rows = rectified(output, basis).permute(0, 2, 3, 1)
    flat = rows.flatten(0, 2)
    if basis.encoder is None:
        found = nnls.coefficients(flat, directions(basis, output.device))
    else:
        found = sae.coefficients(flat, basis.encoder)
    return found.reshape(*rows.shape[:3], -1).permute(0, 3, 1, 2)


def rebuilt(found: Tensor, basis: Basis) -> Tensor:
    """Return the output that coefficients (pictures, factors, h, w) stand for."""
    made = torch.einsum("nkhw,kc->nchw", found, directions(basis, found.device))
    if basis.encoder is None:
        return made
    return made + torch.from_numpy(basis.encoder.offset).to(made)[:, None, None]


def _quotient(relevance: Tensor, output: Tensor, found: Tensor, basis: Basis) -> Tensor:
    """Return the relevance of each unit by what it is divided, 0 where nothing is active."""
    sizes = directions(basis, found.device).abs()
    active = rectified(output, basis)
    whole = torch.maximum(torch.einsum("nkhw,kc->nchw", found, sizes), active.abs())
    signs = torch.where(active < 0, -1.0, 1.0)
    return torch.where(whole > 0, signs * relevance.float() / whole.clamp(min=1e-30), 0.0)


def of_relevance(relevance: Tensor, output: Tensor, found: Tensor, basis: Basis) -> Tensor:
    """Return the relevance of each factor at each position, summed over the channels.

    Parameters
    ----------
    relevance, output : Tensor
        (pictures, channels, height, width), of the layer.
    found : Tensor
        (pictures, factors, height, width), its coefficients.
    basis : Basis
        Its factors.

    Returns
    -------
    Tensor
        float32 (pictures, factors, height, width).
    """
    shared = _quotient(relevance, output, found, basis)
    return found * torch.einsum("nchw,kc->nkhw", shared, directions(basis, found.device))


def parts(
    relevance: Tensor, output: Tensor, found: Tensor, basis: Basis, factors: Sequence[int]
) -> Tensor:
    """Return the part of each unit's relevance that some factors have.

    Parameters
    ----------
    relevance, output, found : Tensor
        Of one picture, as `of_relevance` takes them: (1, ...).
    basis : Basis
        The factors of the layer.
    factors : sequence of int
        Some of their numbers.

    Returns
    -------
    Tensor
        float32 (len(factors), 1, channels, height, width). All of them and the residual, which is
        the rest, add up to `relevance`.
    """
    chosen = torch.tensor(list(factors), device=found.device)
    shared = _quotient(relevance, output, found, basis)
    mine, of = found[0, chosen], directions(basis, found.device)[chosen]
    return (mine[:, None] * of[:, :, None, None] * shared)[:, None]


class FactorEngine:
    """Hands over the maps of factors where another engine has those of channels; see `Engine`.

    Parameters
    ----------
    engine : Engine
        Of the network; that it visits a layer's activation before its relevance is relied on.
    bases : sequence of Basis
        The factors, each set visited under its name.
    """

    def __init__(self, engine: Engine, bases: Sequence[Basis]) -> None:
        self._engine = engine
        self._bases = {basis.layer: basis for basis in bases}

    def __call__(self, images: Tensor, targets: Tensor, visit: Visit) -> Tensor:
        """Visit the maps of all factors, and the relevance of pixels; return the logits."""
        kept: dict[str, tuple[Tensor, Tensor]] = {}

        def inner(layer: str, mode: Mode, maps: Tensor) -> None:
            if layer == PIXELS:
                visit(layer, mode, maps)
                return
            basis = self._bases.get(layer)
            if basis is None:
                return
            if mode == "activation":
                active = rectified(maps, basis)  # a copy: a ReLU may overwrite the maps
                found = of_activation(active, basis)
                kept[layer] = active, found
                visit(basis.name, mode, found)
            else:
                visit(basis.name, mode, of_relevance(maps, *kept[layer], basis))

        return self._engine(images, targets, inner)
