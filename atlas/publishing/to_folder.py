"""A site as a folder: for a web server, a shared disk, or a folder of another repository."""

import filecmp
import shutil
from pathlib import Path

from atlas.errors import UserError
from atlas.publishing.finished import FinishedSite, walk
from atlas.store import bounds, files

INDEX = "api/v1/index.json"
"""File by which a folder is known as an earlier publication."""


def send(site: FinishedSite, where: str) -> Path:
    """Copy a site into a folder, and remove what an earlier publication left there.

    Removed are files in the folders that the site has; what else is beside index.html stays (sites
    of earlier versions, CNAME). Files whose content is the same are not touched.

    Parameters
    ----------
    site : FinishedSite
        The site.
    where : str
        Path of a new or empty folder, or of an earlier publication.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UserError
        The folder holds something else, or is in the atlas itself.
    """
    folder = Path(where)
    atlas = site.root.parent.resolve()
    if folder.resolve().is_relative_to(atlas) or atlas.is_relative_to(folder.resolve()):
        raise UserError(f"{folder} and the atlas hold each other: name a folder outside {atlas}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_publication(folder):
        raise UserError(
            f"{folder} is not empty and no earlier publication of an atlas: name another folder"
        )
    tops = sorted({name.partition("/")[0] for name in site.sizes if "/" in name})
    there: list[str] = []
    for top in tops:
        if (folder / top).is_symlink():
            raise UserError(f"{folder / top} is a link, which would be written through: delete it")
        if (folder / top).is_dir():
            there += [f"{top}/{name}" for name, _ in walk(folder / top)]
    # First what makes it known as a publication, so that an interrupted one can go on.
    for name in sorted(site.sizes, key=lambda name: (name != INDEX, name)):
        _copy(site.root / name, folder / name)
    for name in there:
        if name not in site.sizes:
            (folder / name).unlink()
    for top in tops:
        _prune(folder / top)
    return folder


def _is_publication(folder: Path) -> bool:
    try:
        said = bounds.read_json(folder / INDEX)
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and {"atlas", "layers"} <= said.keys()


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all, unless it is there with the same content."""
    plain_file = target.is_file() and not target.is_symlink()
    if plain_file and filecmp.cmp(source, target, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}{files.TEMPORARY_SUFFIX}")
    temporary.unlink(missing_ok=True)  # whatever it is: a link would be written through
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def _prune(folder: Path) -> None:
    """Remove empty folders."""
    for inner in [path for path in folder.iterdir() if path.is_dir()]:
        _prune(inner)
    if not any(folder.iterdir()):
        folder.rmdir()
