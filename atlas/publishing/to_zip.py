"""A site as a ZIP file, for Zenodo and other archives: the same site is the same bytes."""

import shutil
import zipfile
from pathlib import Path

from atlas.errors import UserError
from atlas.publishing.finished import FinishedSite
from atlas.store import files

_TIME = (1980, 1, 1, 0, 0, 0)
"""Time of every file: the first one that ZIP knows."""

_PACKED = (".webp", ".png", ".jpg", ".gz", ".parquet", ".woff2")
"""Endings of files that do not become smaller."""


def send(site: FinishedSite, where: str) -> Path:
    """Write a site into a ZIP file; its index.html, CITATION.cff and .zenodo.json are at the top.

    Files are sorted, their times and permissions fixed.

    Parameters
    ----------
    site : FinishedSite
        The site.
    where : str
        Path of a new file that ends in .zip.

    Raises
    ------
    UserError
        There is such a file, or it has another ending.
    """
    path = Path(where)
    if path.suffix.lower() != ".zip":
        raise UserError(f"{path}: name the file with the ending .zip")
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} is there already: delete it, or name another file")
    if path.resolve().is_relative_to(site.root.resolve()):
        raise UserError(f"{path} is in the site itself: name a file outside {site.root}")
    with files.atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in site.sizes:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3  # Unix, wherever it is written
            entry.external_attr = 0o100644 << 16
            packed = name.lower().endswith(_PACKED)
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            entry.file_size = site.sizes[name]  # by which it is known whether it needs ZIP64
            with site.open(name) as source, archive.open(entry, "w") as out:
                shutil.copyfileobj(source, out)
    return path
