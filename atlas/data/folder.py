"""`folder:DIR`: a directory of image files.

    DIR/tench/a.jpg  DIR/tench/more/b.png     class folders: the label is the first folder
    DIR/a.jpg                                 flat: no label

Both may be mixed: files that lie in DIR itself have no label, files in its folders have
their folder's. A folder without pictures is no class. The order is by path, part by part,
by code point, whatever the file system lists first; class folders come in the order that
torchvision's `ImageFolder` gives them.

Names that begin with a dot and files whose ending is not one of `atlas.data.images.ENDINGS`
are ignored. Links to files are followed. Links to directories are followed only
directly in DIR, where they are class folders that live elsewhere, and not if they lead back
to DIR or above it; so the listing always ends.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from atlas.data.images import ENDINGS, decode
from atlas.data.source import Description, Record, ascending, slug
from atlas.errors import UserError, one_line

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True)
class Folder:
    """The image files below a directory. See `atlas.data.source.Source`.

    Attributes
    ----------
    root : Path
        The directory, absolute.
    paths : tuple of str
        Of every picture: relative to `root`, with "/" between the parts, in order. About
        100 bytes of memory each.
    classes : tuple of str or None
        Names of the class folders that hold pictures.
    fingerprint : str
        SHA-256, 64 hexadecimal digits, over key and size in bytes of every picture.
    """

    root: Path
    paths: tuple[str, ...]
    classes: tuple[str, ...] | None
    fingerprint: str

    @property
    def name(self) -> str:
        """The last part of the directory's path."""
        return slug(_text(self.root.name))

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    @property
    def random_access(self) -> bool:
        """Files are opened one by one."""
        return True

    def describe(self) -> Description:
        """Return what identifies the data; the directory by its last part only."""
        return {
            "source": f"folder:{_text(self.root.name)}",
            "split": None,
            "config": None,
            "revision": None,
            "fingerprint": self.fingerprint,
        }

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yield the samples from ordinal `start` on."""
        return self._records(range(start, self.count))

    def fetch(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the samples with these ordinals, each once, ascending."""
        return self._records(ascending(indices, self.count))

    def _records(self, indices: Iterable[int]) -> Iterator[Record]:
        labels = {name: label for label, name in enumerate(self.classes or ())}
        for index in indices:
            key = _text(self.paths[index])
            folder, slash, _ = key.partition("/")
            label = labels[folder] if slash else None
            yield Record(index, key, label, partial(decode, self.root / self.paths[index]))


def open_folder(directory: str, limit: int | None) -> Folder:
    """List the pictures below a directory, without opening any.

    Parameters
    ----------
    directory : str
        Its path; a leading "~" stands for the home directory.
    limit : int or None
        At most this many pictures, from the start. The classes are those of the whole
        directory; the fingerprint is that of the pictures kept.

    Raises
    ------
    UserError
        There is no such directory, a part of it cannot be read, it has no pictures, or
        its folders are splits (train, val) and not classes.
    """
    root = Path(directory).expanduser()
    if not root.is_dir():
        what = "is not a directory" if root.exists() else "does not exist"
        raise UserError(f"{directory!r} {what}: give a directory of pictures as folder:DIR")
    root = root.resolve()
    paths: list[str] = []
    classes: dict[str, None] = {}  # a set that keeps the order
    flat = False
    digest = hashlib.sha256()
    for path in _walk(root):
        folder, slash, _ = path.partition("/")
        if slash:
            classes[_text(folder)] = None
        else:
            flat = True
        if limit is None or len(paths) < limit:
            digest.update(f"{_text(path)}\0{_size(root / path)}\n".encode())
            paths.append(path)
    if not paths:
        endings = " ".join(sorted(ENDINGS))
        raise UserError(f"no pictures in {directory!r}: its files should end in {endings}")
    if not flat and _SPLITS.issuperset(name.lower() for name in classes):
        names = ", ".join(classes)
        raise UserError(
            f"the folders of {directory!r} are splits ({names}), not classes: "
            f"choose one, as folder:{directory.rstrip('/')}/{min(classes)}"
        )
    return Folder(root, tuple(paths), tuple(classes) or None, digest.hexdigest())


def _walk(root: Path) -> Iterator[str]:
    """Yield the relative paths of all pictures in order."""
    pending = [""]  # paths still to do, the next one last; directories end in "/"
    while pending:
        path = pending.pop()
        if path and not path.endswith("/"):
            yield path
        else:
            pending += reversed(_list(root, path))


def _list(root: Path, folder: str) -> list[str]:
    """Return folders (with a "/" at the end) and pictures that lie in `folder`, sorted."""
    found: list[tuple[str, str]] = []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                # Of links ask Path, which takes one that leads to itself for a broken one.
                link = entry.is_symlink()
                target = Path(entry.path) if link else entry
                if target.is_dir():
                    if not link or (not folder and _leads_elsewhere(entry, root)):
                        found.append((entry.name, "/"))
                elif Path(entry.name).suffix.lower() in ENDINGS and target.is_file():
                    found.append((entry.name, ""))
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UserError(f"cannot list {str(root / folder)!r}: {reason}") from error
    return [f"{folder}{name}{end}" for name, end in sorted(found)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UserError(f"{str(path)!r} went away while its folder was read: {reason}") from error


def _leads_elsewhere(link: os.DirEntry[str], root: Path) -> bool:
    """Return whether a link does not lead to `root` or to a directory that contains it."""
    return not root.is_relative_to(Path(link.path).resolve())


def _text(path: str) -> str:
    r"""Return a path as valid Unicode: bytes that are not UTF-8 become `\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
