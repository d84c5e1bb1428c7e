"""What a few of the bytes of many files say: other content of the same names and sizes is noticed.

Reading all of ImageNet takes minutes, so that a fingerprint of data is made from the names and
sizes of all files, and from the bytes of a sample: at most `FILES` files, spread evenly over
the listing, and of each at most so many pieces that `PIECES` are read in all. Dates do not count.
Of up to 64 files no larger than 128 kB every byte counts, of more or larger ones some.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

FILES = 64
PIECES = 128
PIECE = 65_536
"""Bytes."""


def digest(paths: Sequence[Path]) -> bytes:
    """Return a hash of the content of a sample of files, which is the same every time.

    Parameters
    ----------
    paths : sequence of Path
        All files, in an order that does not depend on the machine. One that cannot be read
        counts as such: whether it is a picture is for the pre-pass to say.
    """
    whole = hashlib.sha256()
    chosen = [paths[place] for place in _spread(len(paths), FILES)]
    for path in chosen:
        try:
            found = _pieces(path, max(2, PIECES // len(chosen)))
        except OSError:
            found = b"unreadable"
        whole.update(hashlib.sha256(found).digest())
    return whole.digest()


def _pieces(path: Path, most: int) -> bytes:
    """Return the first and the last piece of a file and those between, or all of it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size <= most * PIECE:
            file.seek(0)
            return file.read()
        parts = []
        for place in range(most):
            file.seek(place * (size - PIECE) // (most - 1))
            parts.append(file.read(PIECE))
        return b"".join(parts)


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers below `count`, evenly spread, with both ends."""
    if count <= most:
        return list(range(count))
    return [place * (count - 1) // (most - 1) for place in range(most)]
