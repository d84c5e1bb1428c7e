"""What a long step has done so far, on the disk while it is not finished."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from atlas.store import files

Array = npt.NDArray[Any]


class Unfinished:
    """Keeps what a step has done, so that an interrupted one goes on from there.

    Parameters
    ----------
    path : Path
        The file, which is written whole or not at all.
    inputs : str
        Fingerprint of what the step works on; what was done with something else is ignored.
    seconds : float
        Between two times that `due` says yes.
    """

    def __init__(self, path: Path, inputs: str, seconds: float) -> None:
        self._path, self._inputs, self._seconds = path, inputs, seconds
        self._last = time.monotonic()

    def load(self) -> dict[str, Array] | None:
        """Return what was saved last; None if there is nothing that can be used."""
        try:
            with safe_open(self._path, "numpy") as file:
                if (file.metadata() or {}).get("inputs") != self._inputs:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, TypeError, AttributeError, ValueError, MemoryError):
            return None  # also tensors of kinds that NumPy lacks, which nobody here wrote

    def due(self) -> bool:
        """Say whether it is time to save again."""
        return time.monotonic() - self._last >= self._seconds

    def save(self, arrays: Mapping[str, Array]) -> None:
        """Keep what has been done in place of what was kept before."""
        files.write_bytes(self._path, serialize(dict(arrays), {"inputs": self._inputs}))
        self._last = time.monotonic()
