"""Publish the finished site of an atlas: which ways there are, and what is said about each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from atlas.api.contents import Contents
from atlas.errors import UserError
from atlas.plain import plain
from atlas.publishing import finished, to_folder, to_git, to_space, to_zip
from atlas.publishing.finished import FinishedSite

_Way = Callable[[Contents, FinishedSite, str], "Published"]


@dataclass(frozen=True)
class Published:
    """What has been published."""

    place: str
    """Where it is now, for people."""
    notes: tuple[str, ...] = ()
    """What is still to be done or to be known, a line each."""


def publish(contents: Contents, target: str) -> Published:
    """Publish exactly the files of an atlas's site.

    Parameters
    ----------
    contents : Contents
        The atlas; its site must have been built.
    target : str
        `git:REMOTE[#BRANCH]`, `hf-space:NAME`, `dir:PATH` or `zip:FILE`.

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
    published = _WAYS[way](contents, site, where)
    return Published(published.place, (*_about(contents, site), *published.notes))


def _to_git(contents: Contents, site: FinishedSite, where: str) -> Published:
    remote, _, branch = where.partition("#")
    address = to_git.address(remote)
    sent = to_git.send(site, remote, branch or to_git.BRANCH, contents.id, _older(contents))
    place = f"{to_git.shown(remote)}, branch {branch or to_git.BRANCH}"
    return Published(
        place if sent else f"{place}: nothing has changed", _unknown_address(contents, address)
    )


def _to_space(contents: Contents, site: FinishedSite, where: str) -> Published:
    name = to_space.send(contents, site, where, _older(contents))
    return Published(
        f"https://huggingface.co/spaces/{name}",
        _unknown_address(contents, to_space.address(name)),
    )


def _to_folder(contents: Contents, site: FinishedSite, where: str) -> Published:
    return Published(str(to_folder.send(site, where)), _unknown_address(contents, ""))


def _to_zip(contents: Contents, site: FinishedSite, where: str) -> Published:
    return Published(str(to_zip.send(site, where)), _unknown_address(contents, ""))


_WAYS: Mapping[str, _Way] = {
    "git": _to_git,
    "hf-space": _to_space,
    "dir": _to_folder,
    "zip": _to_zip,
}


def _older(contents: Contents) -> tuple[str, ...]:
    """Return the folders of earlier versions, which stay beside what is published."""
    return contents.recipe.cite.older


def _about(contents: Contents, site: FinishedSite) -> tuple[str, ...]:
    """Return what is to be said of a site wherever it goes."""
    notes = []
    if site.size > finished.LARGE:
        notes.append(
            f"the site has {site.size / 1e9:.1f} GB, and free hosts take about 1 GB: "
            "site.images = 'thumbs' makes it smaller"
        )
    url = contents.recipe.cite.url
    if url and not _known_url(site).startswith(url.rstrip("/")):
        notes.append(
            f"the site does not say yet that it is at {url}: run `atlas site "
            f"{contents.store.root}` and publish again"
        )
    return tuple(notes)


def _unknown_address(contents: Contents, address: str) -> tuple[str, ...]:
    """Say how a site learns its address, if it does not know it."""
    if contents.recipe.cite.url:
        return ()
    will_be = f"this will be at {address}, but " if address else ""
    return (
        f"{will_be}its pages and citations do not know their address: put url = "
        f'"{address or "https://..."}" under [cite] in the recipe, build and publish again',
    )


def _known_url(site: FinishedSite) -> str:
    """Return the address that the site itself says."""
    try:
        with site.open("CITATION.cff") as file:
            cited: Any = yaml.safe_load(file)
        return str(cited.get("url", ""))
    except (OSError, yaml.YAMLError, AttributeError, UnicodeDecodeError):
        return ""
