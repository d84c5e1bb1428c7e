"""The tree of generated files, and the build cache: what each of them was made from.

A file is written when its content changed; files that no page uses any more are removed. The
cache goes further: a page whose sources are those of the last time is not even made.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from atlas.errors import UserError
from atlas.store import bounds, files

CACHE_BYTES = 1 << 30
"""Largest size of a cache that is read; that of 26,560 channels has 60 MB."""


def directory_id(root: Path) -> int:
    """Return what distinguishes this directory from a copy of it, on this machine or another.

    A cache that came with an atlas has another number than one that was written here: what it
    says of files is not believed, and they are made anew.
    """
    return root.stat().st_ino


def begin(cache: Path, root: Path) -> None:
    """Clear `root` of files that came with an atlas, unless `cache` was written here."""
    try:
        if bounds.read_json(cache, CACHE_BYTES)["place"] == directory_id(cache.parent):
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass
    for _, entry in walk(root):
        Path(entry.path).unlink()
    prune(root)
    _write_cache(cache, "", {})


def _write_cache(path: Path, base: str, pages: Mapping[str, Any]) -> None:
    value = {"place": directory_id(path.parent), "base": base, "pages": pages}
    files.write_text(path, json.dumps(value, separators=(",", ":")))


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every file below `root` with its path from there, with forward slashes."""
    stack = [(root, "")]
    while stack:
        directory, base = stack.pop()
        if not directory.is_dir():
            continue
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise UserError(
                        f"{entry.path} is a link, and nothing here writes any: delete it"
                    )
                if entry.is_dir(follow_symlinks=False):
                    stack.append((directory / entry.name, f"{base}{entry.name}/"))
                else:
                    yield base + entry.name, entry


def put(path: Path, data: bytes) -> None:
    """Rename `data` into place as `path`.

    It is not flushed to the disk, which would take most of the time of a build: everything here
    is made again from the tables, and what a power cut leaves is empty and so found.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}{files.TEMPORARY_SUFFIX}{path.suffix}")
    temporary.unlink(missing_ok=True)  # whatever it is: a link would be written through
    temporary.write_bytes(data)
    temporary.replace(path)


def link(path: Path, source: Path) -> None:
    """Put `source` at `path` without a copy of its bytes where the disk can do that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # something is there, or the disk cannot do that
        os.link(source, path)
        return
    temporary = path.with_name(f".{path.stem}{files.TEMPORARY_SUFFIX}{path.suffix}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:  # another file system, or one without hard links
        temporary.write_bytes(source.read_bytes())
        status = source.stat()
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    temporary.replace(path)


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Say whether two files are one, or one a copy that `link` made."""
    if (one.st_ino, one.st_dev) == (other.st_ino, other.st_dev):
        return True
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


class Tree:
    """A directory that holds what this rendering put there, and after `close` nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._present = {name: entry.stat().st_size for name, entry in walk(root)}
        self._kept: set[str] = set()

    def write(self, name: str, content: str | bytes) -> None:
        """Put a file; the one that is there stays when it has the same content."""
        data = content.encode() if isinstance(content, str) else content
        self._kept.add(name)
        if name in self._present and (self.root / name).read_bytes() == data:
            return
        put(self.root / name, data)
        self._present[name] = len(data)

    def keep(self, sizes: Mapping[str, int]) -> bool:
        """Keep files as they are, if all of them are there and have these sizes."""
        if any(self._present.get(name) != size for name, size in sizes.items()):
            return False
        self._kept.update(sizes)
        return True

    def add(self, sizes: Mapping[str, int]) -> None:
        """Keep files that another process wrote, with their sizes."""
        self._present.update(sizes)
        self._kept.update(sizes)

    def has(self, name: str) -> bool:
        """Keep a file if it is there."""
        if name not in self._present:
            return False
        self._kept.add(name)
        return True

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return the sizes of files that are there."""
        return {name: self._present[name] for name in names}

    def has_webp(self, name: str) -> bool:
        """Keep the picture `name` if it is there and whole; its name must have a digest of it."""
        if name not in self._present:
            return False
        with (self.root / name).open("rb") as file:
            head = file.read(8)
        if head[:4] != b"RIFF" or int.from_bytes(head[4:8], "little") + 8 != self._present[name]:
            return False
        self._kept.add(name)
        return True

    def linked(self, name: str, source: Path) -> bool:
        """Say whether `source` is there under `name`."""
        return name in self._present and same((self.root / name).stat(), source.stat())

    def link(self, name: str, source: Path) -> None:
        """Put `source` under `name` without a copy of its bytes where the disk can do that."""
        self._kept.add(name)
        if not self.linked(name, source):
            link(self.root / name, source)
            self._present[name] = source.stat().st_size

    def within(self, folder: str) -> list[str]:
        """Return the files that were put or kept below `folder`, in order."""
        return sorted(name for name in self._kept if name.startswith(folder))

    def close(self) -> None:
        """Remove what an earlier rendering left: pages of channels that are no more."""
        for name in self._present.keys() - self._kept:
            (self.root / name).unlink(missing_ok=True)
        prune(self.root)


def prune(root: Path) -> None:
    """Remove empty directories and unfinished files below `root`."""
    for directory, _, names in os.walk(root, topdown=False):
        here = Path(directory)
        for name in names:
            if name.startswith(".") and files.TEMPORARY_SUFFIX in name:
                (here / name).unlink()
        if here != root and not any(here.iterdir()):
            here.rmdir()


class BuildCache:
    """What the pages of the last rendering were made from.

    Parameters
    ----------
    path : Path or None
        The file that it is kept in; None for one that knows nothing and is not kept.
    base : str
        A digest of what all pages depend on. Another one, and everything is made anew.
    rows : sequence of str
        A digest of what else a page says about each channel.
    """

    def __init__(self, path: Path | None, base: str, rows: Sequence[str]) -> None:
        self._path = path
        self._base = base
        self._rows = rows
        self._old: dict[str, Any] = {}
        self._new: dict[str, Any] = {}
        if path is None:
            return
        try:
            known = bounds.read_json(path, CACHE_BYTES)
            if known["base"] == base:
                self._old = known["pages"]
        except (OSError, ValueError, KeyError, TypeError):  # none, or not ours: all is made anew
            pass

    def files(self, page: str) -> dict[str, int] | None:
        """Return files and sizes of a page whose sources have not changed, or None."""
        entry = self._old.get(page)
        if entry is None or entry["made"] != self._digest(entry["rows"]):
            return None
        self._new[page] = entry
        sizes: dict[str, int] = entry["files"]
        return sizes

    def add(self, page: str, rows: Iterable[int], sizes: Mapping[str, int]) -> None:
        """Record that a page was made from these channels, as files of these sizes."""
        used = sorted(set(rows))
        self._new[page] = {"made": self._digest(used), "rows": used, "files": sizes}

    def close(self) -> None:
        """Write the cache for the next time."""
        if self._path is not None:
            _write_cache(self._path, self._base, self._new)

    def _digest(self, rows: Sequence[int]) -> str:
        text = " ".join(self._rows[row] for row in rows)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
