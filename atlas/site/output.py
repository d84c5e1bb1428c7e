"""The tree of generated files: each is written when its content changed, others are removed."""

import filecmp
import os
from pathlib import Path

from atlas import files


class Tree:
    """A directory that holds what this rendering put there, and nothing else in the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: set[Path] = set()

    def write(self, name: str, content: str | bytes) -> None:
        """Put a file; the one that is there stays when it has the same content.

        Files are renamed into place but not flushed to the disk one by one, which would take
        most of the time: everything here is made again from the tables, and what a power cut
        leaves empty is found by its content.
        """
        data = content.encode() if isinstance(content, str) else content
        path = self._keep(name)
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}{files.TEMPORARY_SUFFIX}{path.suffix}")
        temporary.write_bytes(data)
        temporary.replace(path)

    def has_webp(self, name: str) -> bool:
        """Keep the picture `name` if it is there and whole; its name must tell its content."""
        path = self.root / name
        try:
            with path.open("rb") as file:
                head = file.read(8)
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return False
        if head[:4] != b"RIFF" or int.from_bytes(head[4:8], "little") + 8 != size:
            return False
        self._kept.add(path)
        return True

    def link(self, name: str, source: Path) -> None:
        """Put `source` under `name` without a copy of its bytes where the disk can do that."""
        path = self._keep(name)
        if path.is_file() and (path.samefile(source) or filecmp.cmp(path, source, shallow=False)):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(source, path)
        except OSError:  # another file system, or one without hard links
            files.write_bytes(path, source.read_bytes())

    def close(self) -> None:
        """Remove what an earlier rendering left: pages of channels that are no more."""
        for directory, _, names in os.walk(self.root, topdown=False):
            here = Path(directory)
            for name in names:
                if here / name not in self._kept:
                    (here / name).unlink()
            if here != self.root and not any(here.iterdir()):
                here.rmdir()

    def _keep(self, name: str) -> Path:
        path = self.root / name
        self._kept.add(path)
        return path
