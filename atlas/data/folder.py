"""`folder:DIR`: a directory of image files.

    DIR/tench/a.jpg  DIR/tench/more/b.png     class folders: the label is the first folder
    DIR/a.jpg                                 flat: no label

Both may be mixed: files that lie in DIR itself have no label, files in its folders have
their folder's. A folder without pictures is no class, and a remark says so. The order is by
path, part by part, by code point, whatever the file system lists first; class folders come in
the order that torchvision's `ImageFolder` gives them.

Where DIR holds one folder and nothing else, as archives often unpack, and that has folders of
pictures only, it is taken for DIR; a remark says so.

Names that begin with a dot (and `__MACOSX`, which Macs leave in archives) and files whose ending
is not one of `atlas.data.images.ENDINGS` are left out, and counted. Links to files are followed.
Links to directories are followed only directly in DIR, where they are class folders that live
elsewhere, and not if they lead back to DIR or above it; so the listing always ends.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from atlas.data import sampling
from atlas.data.images import ENDINGS, UNREAD, decode, looks_like_one
from atlas.data.source import Description, LeftOut, Record, ascending, format_counts, slug
from atlas.errors import UserError, one_line

_SPLIT = re.compile(
    r"(?:ilsvrc\d*[-_]?(?:img[-_]?)?)?(?:train|training|val|valid|validation|test|testing|dev|eval)"
    r"(?:[-_ ]?(?:set|split|data|images|imgs|img|\d+))*",
    re.IGNORECASE,
)
"""Names of splits: train, val2017, test_images."""

_NO_PICTURES = frozenset(
    {".cfg", ".csv", ".db", ".gz", ".html", ".htm", ".ini", ".json", ".jsonl", ".mat", ".md"}
    | {".mp4", ".npy", ".npz", ".parquet", ".pdf", ".pkl", ".pt", ".pth", ".py", ".tar", ".tgz"}
    | {".toml", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".zip"}
)
"""Endings of what lies beside pictures, whose content is not looked at."""

ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".7z", ".rar"})

_DEEPEST = 8
"""Folders in each other that are looked into."""


@dataclass(frozen=True)
class Folder:
    """The image files below a directory. See `atlas.data.source.Source`.

    Attributes
    ----------
    root : Path
        The directory, absolute.
    paths : tuple of str
        Path of every picture: relative to `root`, with "/" between the parts, in order. About
        100 bytes of memory each.
    classes : tuple of str or None
        Names of the class folders that hold pictures.
    fingerprint : str
        SHA-256, 64 hexadecimal digits, over key and size in bytes of every picture, and over
        the content of a sample of them; see `atlas.data.sampling`.
    """

    root: Path
    paths: tuple[str, ...]
    classes: tuple[str, ...] | None
    fingerprint: str
    left_out: LeftOut
    """What was found beside the pictures."""
    remarks: tuple[str, ...]
    """Whether another folder than the recipe's was taken, and which folders are no classes."""

    @property
    def name(self) -> str:
        """The last part of the directory's path."""
        return slug(_text(self.root.name))

    @property
    def label_numbers(self) -> tuple[int, ...]:
        """There are none: labels have names."""
        return ()

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
    """List the pictures below a directory, without decoding any.

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
        if root.is_file() and root.suffix.lower() in ARCHIVES:
            what = "is an archive, which is not read: unpack it"
            raise UserError(f"{directory!r} {what}, and give its directory as folder:DIR")
        raise UserError(f"{directory!r} {what}: give a directory of pictures as folder:DIR")
    root = root.resolve()
    remarks: tuple[str, ...] = ()
    if (inner := _unwrapped(root)) != root:
        where = _text(str(inner.relative_to(root)))
        remarks = (f"{directory!r} holds the folder {where!r} and nothing else: it is taken",)
        directory, root = f"{directory.rstrip('/')}/{where}", inner
    paths: list[str] = []
    classes: dict[str, None] = {}  # a set that keeps the order
    flat, taken = False, 0
    digest = hashlib.sha256()
    pictures, others = Counter[str](), Counter[str]()
    for path in _walk(root, pictures, others):
        taken += 1
        folder, slash, _ = path.partition("/")
        if slash:
            classes[_text(folder)] = None
        else:
            flat = True
        if limit is None or len(paths) < limit:
            digest.update(f"{_text(path)}\0{_size(root / path)}\n".encode())
            paths.append(path)
    left_out = LeftOut(pictures, others, taken)
    if not paths:
        endings = " ".join(sorted(ENDINGS))
        there = f", and there are {format_counts(left_out.every)}" if left_out.every else ""
        archive = any(reason in ARCHIVES for reason in others)
        unpack = "; unpack archives first" if archive else ""
        raise UserError(
            f"no pictures in {directory!r}: its files should end in {endings}{there}{unpack}"
        )
    splits = [name for name in classes if _SPLIT.fullmatch(name)]
    if len(splits) > 1 or (splits == list(classes) and splits and not flat):
        names = ", ".join(splits)
        raise UserError(
            f"the folders of {directory!r} are splits ({names}), not classes: "
            f"choose one, as folder:{directory.rstrip('/')}/{min(splits)}"
        )
    remarks += _passed_over(root, classes) if classes else ()
    digest.update(sampling.digest([root / path for path in paths]))
    names_ = tuple(classes) or None
    return Folder(root, tuple(paths), names_, digest.hexdigest(), left_out, remarks)


def _unwrapped(root: Path) -> Path:
    """Return the folder that `root` holds where that is all, and holds several of pictures."""
    folder = root
    for _ in range(_DEEPEST):
        inner = _list(folder, "", Counter(), Counter())
        if len(inner) != 1 or not inner[0].endswith("/"):
            break
        folder /= inner[0]
    several = sum(any(islice(_walk_from(folder, name), 1)) for name in inner if name.endswith("/"))
    flat = any(not name.endswith("/") for name in inner)
    return folder if several > 1 and not flat else root


def _passed_over(root: Path, classes: Collection[str]) -> tuple[str, ...]:
    """Say which folders in `root` are no classes, though its classes may have been counted so."""
    listed = [name[:-1] for name in _list(root, "", Counter(), Counter()) if name.endswith("/")]
    dotted = sorted(entry.name for entry in root.iterdir() if entry.name.startswith("."))
    passed = {
        "no pictures": [name for name in listed if _text(name) not in classes],
        "pictures, but a hidden name": [name for name in dotted if _has_pictures(root, name)],
    }
    return tuple(
        f"{_text(names[0])!r} and {len(names) - 1} more folders have {why}: they are no classes"
        if len(names) > 1
        else f"the folder {_text(names[0])!r} has {why}: it is no class"
        for why, names in passed.items()
        if names
    )


def _has_pictures(root: Path, folder: str) -> bool:
    try:
        return (root / folder).is_dir() and any(islice(_walk_from(root, f"{folder}/"), 1))
    except UserError:  # what is hidden need not be readable
        return False


def _walk_from(root: Path, folder: str) -> Iterator[str]:
    return _walk(root, Counter(), Counter(), folder)


def _walk(
    root: Path, pictures: Counter[str], others: Counter[str], folder: str = ""
) -> Iterator[str]:
    """Yield the relative paths of all pictures in order; count what is left out."""
    pending = [folder]  # paths still to do, the next one last; directories end in "/"
    while pending:
        path = pending.pop()
        if path and not path.endswith("/"):
            yield path
        else:
            pending += reversed(_list(root, path, pictures, others))


def _list(root: Path, folder: str, pictures: Counter[str], others: Counter[str]) -> list[str]:
    """Return folders (with a "/" at the end) and pictures that lie in `folder`, sorted."""
    found: list[tuple[str, str]] = []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    others["hidden"] += 1
                    continue
                # Of links ask Path, which takes one that leads to itself for a broken one.
                link = entry.is_symlink()
                target = Path(entry.path) if link else entry
                if target.is_dir():
                    if not link or (not folder and _leads_elsewhere(entry, root)):
                        found.append((entry.name, "/"))
                    else:
                        others["links to folders"] += 1
                    continue
                ending = Path(entry.name).suffix.lower()
                if not target.is_file():
                    broken = pictures if link and ending in ENDINGS else others
                    broken["broken links" if link else "no files"] += 1
                elif ending in ENDINGS:
                    found.append((entry.name, ""))
                else:
                    lost = pictures if _is_picture(Path(entry.path), ending) else others
                    lost[_text(ending) or "without an ending"] += 1
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UserError(f"cannot list {str(root / folder)!r}: {reason}") from error
    return [f"{folder}{name}{end}" for name, end in sorted(found)]


def _is_picture(path: Path, ending: str) -> bool:
    """Return whether a file that is not read is a picture."""
    return ending in UNREAD or (ending not in _NO_PICTURES and looks_like_one(path))


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
