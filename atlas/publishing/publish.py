"""Publish the finished site of an atlas: which ways there are, and what is said about each."""

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from atlas.api.contents import Contents
from atlas.errors import UserError
from atlas.plain import plain
from atlas.publishing import finished, to_folder, to_git, to_space, to_zip
from atlas.publishing.finished import FinishedSite

_Way = Callable[[Contents, FinishedSite, str], tuple[str, str]]
"""Publishes, and returns where it is now and the address that its pages will have, if known."""


def publish(contents: Contents, target: str, say: Callable[[str], object]) -> str:
    """Publish exactly the files of an atlas's site.

    Parameters
    ----------
    contents : Contents
        The atlas; its site must have been built.
    target : str
        `git:REMOTE[#BRANCH]`, `hf-space:NAME`, `dir:PATH` or `zip:FILE`.
    say : callable
        Is given each line about what is to be known or still to be done.

    Returns
    -------
    str
        Where it is now, for people.

    Raises
    ------
    UserError
        There is no such way, there is no site, it has pictures that the recipe keeps back, or
        the place cannot be reached or holds something else.
    """
    way, colon, where = target.partition(":")
    if way not in _WAYS or not colon or not where:
        raise UserError(
            f"{plain(target)[:80]!r} is no place to publish: give git:REMOTE[#BRANCH], "
            "hf-space:NAME, dir:PATH or zip:FILE"
        )
    site = finished.look(contents)
    url = contents.recipe.cite.url
    if site.size > finished.LARGE:
        say(
            f"the site has {site.size / 1e9:.1f} GB, and free hosts take about 1 GB: "
            "site.images = 'thumbs' makes it smaller"
        )
    if url and not _known_url(site).startswith(url.rstrip("/")):
        say(
            f"the site does not say yet that it is at {plain(url)}: run `atlas site "
            f"{contents.store.root}` and publish again"
        )
    place, address = _WAYS[way](contents, site, where)
    if not url:
        will_be = f"this will be at {address}, but " if address else ""
        say(
            f"{will_be}its pages and citations do not know their address: put url = "
            f'"{address or "https://..."}" under [cite] in the recipe, build and publish again'
        )
    return place


def _to_git(contents: Contents, site: FinishedSite, where: str) -> tuple[str, str]:
    remote, _, branch = where.partition("#")
    branch = branch or to_git.BRANCH
    sent = to_git.send(site, remote, branch, contents.id, contents.recipe.cite.older)
    place = f"{to_git.shown(remote)}, branch {branch}"
    return place if sent else f"{place}: nothing has changed", to_git.address(remote)


def _to_space(contents: Contents, site: FinishedSite, where: str) -> tuple[str, str]:
    name = to_space.send(contents, site, where)
    return f"https://huggingface.co/spaces/{name}", to_space.address(name)


def _to_folder(_: Contents, site: FinishedSite, where: str) -> tuple[str, str]:
    return str(to_folder.send(site, where)), ""


def _to_zip(_: Contents, site: FinishedSite, where: str) -> tuple[str, str]:
    return str(to_zip.send(site, where)), ""


_WAYS: Mapping[str, _Way] = {
    "git": _to_git,
    "hf-space": _to_space,
    "dir": _to_folder,
    "zip": _to_zip,
}


def _known_url(site: FinishedSite) -> str:
    """Return the address that the site itself says."""
    try:
        with site.open("CITATION.cff") as file:
            cited: Any = yaml.safe_load(file)
        return str(cited.get("url", ""))
    except (OSError, yaml.YAMLError, AttributeError, UnicodeDecodeError):
        return ""
