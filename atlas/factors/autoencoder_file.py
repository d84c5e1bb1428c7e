"""A sparse autoencoder that was trained elsewhere, from a safetensors file.

Read are the names that SAELens, EleutherAI's sparsify, OpenAI's sparse_autoencoder and two plain
`torch.nn.Linear` write.
"""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from atlas.errors import UserError, one_line
from atlas.factors.nmf import Matrix
from atlas.store.bases import MOST, SparseEncoder

ARRAYS = {
    "encoder": ("W_enc", "encoder.weight"),
    "bias": ("b_enc", "encoder.bias", "latent_bias"),
    "decoder": ("W_dec", "decoder.weight"),
    "offset": ("b_dec", "decoder.bias", "pre_bias"),
}
"""What each array is called."""

ACROSS = ("W_enc", "decoder.weight")
"""Those that are (channels, factors)."""


def read(path: Path, layer: str, channels: int, active: int) -> tuple[Matrix, SparseEncoder]:
    """Read an autoencoder of a layer.

    Parameters
    ----------
    path : Path
        A safetensors file with encoder and decoder (`W_enc` (channels, factors) or
        `encoder.weight` (factors, channels); `W_dec` (factors, channels) or `decoder.weight`
        (channels, factors)) and perhaps their biases. What the decoder adds is taken from the
        output before it is encoded.
    layer : str
        Whose output it is of.
    channels : int
        How many channels that has.
    active : int
        How many of the factors may be active at once.

    Returns
    -------
    tuple
        Directions, float32 (factors, channels), of length 1; what finds the coefficients.

    Raises
    ------
    UserError
        It cannot be read, has arrays that are not known, or is of another layer.
    """
    arrays = _arrays(path)
    known = {name for names in ARRAYS.values() for name in names}
    if strange := sorted(arrays.keys() - known):
        raise UserError(
            f"{path} has {strange[0]!r}, which is no part of an autoencoder with TopK (known: "
            f"{', '.join(sorted(known))})"
        )
    found: dict[str, Matrix] = {}
    for what, names in ARRAYS.items():
        for name in names:
            if name in arrays:
                found[what] = arrays[name].T if name in ACROSS else arrays[name]
    missing = [what for what in ("encoder", "decoder") if what not in found]
    if missing:
        raise UserError(f"{path} has no {' and no '.join(missing)} of an autoencoder")
    size = len(found["decoder"])
    found.setdefault("bias", np.zeros(size, np.float32))
    found.setdefault("offset", np.zeros(channels, np.float32))
    for what, shape in (
        ("encoder", (size, channels)), ("decoder", (size, channels)), ("bias", (size,)),
        ("offset", (channels,)),
    ):  # fmt: skip
        if found[what].shape != shape:
            raise UserError(
                f"{path} is no autoencoder of layer {layer!r}: its {what} has the shape "
                f"{list(found[what].shape)}, and {channels} channels need {list(shape)}"
            )
    if active > size:
        raise UserError(f"factors.active = {active}: {path} has {size} factors")
    lengths = np.linalg.norm(found["decoder"], axis=1)
    if not all(np.isfinite(array).all() for array in found.values()) or not lengths.all():
        raise UserError(f"{path} has directions of length 0, or numbers that are not finite")
    directions = (found["decoder"] / lengths[:, None]).astype(np.float32)
    weights = np.ascontiguousarray(found["encoder"])
    return directions, SparseEncoder(weights, found["bias"], found["offset"], lengths, active)


def _arrays(path: Path) -> dict[str, Matrix]:
    if not path.is_file():
        raise UserError(f"factors.trained = {str(path)!r}: there is no such file")
    try:
        with safe_open(path, framework="pt") as opened:
            found: dict[str, Tensor] = {}
            for key in opened.keys():  # noqa: SIM118 (no mapping)
                if np.prod(opened.get_slice(key).get_shape(), dtype=float) > MOST:
                    raise UserError(f"{path}: {key!r} is larger than this package reads")
                found[key] = opened.get_tensor(key)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"factors.trained = {str(path)!r} is no safetensors file: {one_line(error)[:200]}"
        ) from error
    return {key: tensor.float().numpy() for key, tensor in found.items()}
