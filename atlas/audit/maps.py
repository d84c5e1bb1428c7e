"""The maps of an audit by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from atlas.audit import controls, gradients, masking
from atlas.audit.audited import Audited, MapOf
from atlas.relevance.engine import PIXELS, Engine, measure
from atlas.store import Mode

SEED = 0
"""Seed of the noise of Smooth Grad-CAM++ and of the points of Sobol attribution. It is the same
for every picture, so that a map is a function of the picture."""

CONTROLS = ("random", "centre", "edges")
"""Maps that know nothing of the network."""


@dataclass(frozen=True)
class Mapper:
    """A kind of map."""

    of: MapOf
    passes: int
    """How often a picture goes through the network for it, about."""


def relevance(engine: Engine, images: Tensor, targets: Tensor) -> Tensor:
    """Return the relevance of the pixels, summed over the colours, with its sign."""
    found = images.new_zeros(len(images), *images.shape[-2:])

    def visit(part: slice, layer: str, mode: Mode, maps: Tensor) -> None:
        if layer == PIXELS:
            found[part] = maps.sum(dim=1)

    measure(engine, images, targets, visit)
    return found


def available(
    audited: Audited,
    size: tuple[int, int],
    cam_layer: str | None,
    engine: Engine | None,
    others: Mapping[str, MapOf],
) -> dict[str, Mapper]:
    """Return every map that a network can have.

    Parameters
    ----------
    audited : Audited
        The network; with its layer `cam_layer`.
    size : tuple of int
        Height and width of its pictures.
    cam_layer : str, optional
        The layer of Grad-CAM and its variants; without one there are no such maps.
    engine : Engine, optional
        What computes relevance, with that of the pixels; without it there is no map `lrp`.
    others : mapping
        Further maps, which stand behind `lrp`; each costs a few passes.
    """
    found: dict[str, Mapper] = {}
    if engine is not None:
        found["lrp"] = Mapper(partial(relevance, engine), 2)
    found |= {name: Mapper(of, 4) for name, of in others.items()}
    found["sobol"] = Mapper(
        partial(masking.sobol, audited, SEED), masking.DESIGNS * (masking.GRID**2 + 2)
    )
    if cam_layer is not None:
        found["grad-cam"] = Mapper(partial(gradients.cam, audited, cam_layer, gradients.plain), 2)
        found["grad-cam++"] = Mapper(
            partial(gradients.cam, audited, cam_layer, gradients.plus_plus), 2
        )
        found["smooth-grad-cam++"] = Mapper(
            partial(gradients.smooth, audited, cam_layer, SEED), 2 * (gradients.NOISY + 1)
        )
    found["integrated-gradients"] = Mapper(
        partial(gradients.integrated, audited), 2 * gradients.STEPS
    )
    found["occlusion"] = Mapper(partial(masking.occlusion, audited), len(masking.windows(size)) + 1)
    for name, of in zip(CONTROLS, (controls.chance, controls.centre, controls.edges), strict=True):
        found[name] = Mapper(of, 0)
    return found


def last_with_positions(shapes: Mapping[str, Sequence[int]]) -> str | None:
    """Return the last layer whose maps have more than one position; None if there is none.

    Parameters
    ----------
    shapes : mapping
        The shape of each layer's output, in the order of the forward pass.
    """
    placed = [
        name for name, shape in shapes.items() if len(shape) == 4 and tuple(shape[2:]) != (1, 1)
    ]
    return placed[-1] if placed else None
