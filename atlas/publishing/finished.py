"""The finished site as it is published: its files, and whether they may be."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from atlas.api.contents import Contents
from atlas.errors import UserError
from atlas.plain import plain

PICTURES = "i/"
"""Folder of the data's pictures in a site."""

THUMBNAIL = 64
"""Longer side, in pixels, of the pictures where `site.images` is `thumbs`."""

LARGE = 10**9
"""Bytes above which a site is large: GitHub and GitLab serve about 1 GB, free Spaces too."""

_KEPT_BACK = re.compile(
    r"\b(no|not|never|without|prohibit\w*|forbid\w*|forbidden)\b[^.;]*"
    r"\b(publish\w*|publication|(re)?distribut\w*|shar(e|ed|ing)|pass(ed|ing)? on|made public)\b"
    r"|\bconfidential\b|\ball rights reserved\b",
    re.IGNORECASE,
)
"""What people write in `cite.rights` where pictures are not to be published. A guess from words,
which errs on the side of those who have the rights."""


@dataclass(frozen=True)
class FinishedSite:
    """The files of a built site."""

    root: Path
    """Its folder."""
    sizes: dict[str, int]
    """Bytes of each file by its path in the site, with forward slashes, sorted."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes.values())

    def open(self, name: str) -> BinaryIO:
        """Open a file of it."""
        return (self.root / name).open("rb")


def look(contents: Contents) -> FinishedSite:
    """Return the built site of an atlas, if it may be published.

    Parameters
    ----------
    contents : Contents
        The atlas.

    Raises
    ------
    UserError
        The site has not been built, has links or other files that no site has, or has pictures
        that the recipe keeps back.
    """
    root = contents.store.root / "site"
    if not (root / "index.html").is_file():
        raise UserError(f"{root} is not built: run `atlas site {contents.store.root}` first")
    site = FinishedSite(root, dict(sorted(walk(root))))
    _check_pictures(contents, site)
    return site


def walk(root: Path, base: str = "") -> Iterator[tuple[str, int]]:
    """Yield path and size of every file below a folder.

    Raises
    ------
    UserError
        There is a link, something that is no file, or a repository of git.
    """
    with os.scandir(root / base) as entries:
        for entry in entries:
            name = base + entry.name
            if entry.is_dir(follow_symlinks=False) and entry.name.lower() != ".git":
                yield from walk(root, f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                yield name, entry.stat(follow_symlinks=False).st_size
            else:
                what = "a link" if entry.is_symlink() else "no plain file"
                raise UserError(f"{root / name} is {what}, which no site has: delete it")


def _check_pictures(contents: Contents, site: FinishedSite) -> None:
    pictures = [name for name in site.sizes if name.startswith(PICTURES)]
    if not pictures:
        return
    allowed, rights = contents.recipe.site.images, contents.recipe.cite.rights
    again = f"run `atlas site {contents.store.root} --set site.images"
    if _KEPT_BACK.search(rights):
        raise UserError(
            f"the site has {len(pictures)} pictures, and cite.rights says {plain(rights)[:160]!r}: "
            f"{again}=none` to publish none, or say in cite.rights what is allowed"
        )
    if allowed == "none":
        raise UserError(
            f"site.images is 'none', but the site has {len(pictures)} pictures: {again}=none` first"
        )
    largest = max(pictures, key=lambda name: site.sizes[name])
    if allowed == "thumbs" and max(_pixels(site, largest)) > THUMBNAIL:
        raise UserError(
            f"site.images is 'thumbs', but the site has whole pictures: {again}=thumbs` first"
        )


def _pixels(site: FinishedSite, name: str) -> tuple[int, int]:
    """Return width and height of a picture."""
    with site.open(name) as file:
        try:
            with Image.open(file) as picture:
                return picture.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(
                f"{site.root / name} is no picture: run `atlas site {site.root.parent}` again"
            ) from error
