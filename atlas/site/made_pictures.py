"""The pictures that were made for channels, as pages show them."""

from dataclasses import dataclass

from atlas.site.catalogue import Catalogue
from atlas.site.entries import ChannelEntry
from atlas.site.output import Tree
from atlas.store import bounds, made
from atlas.store.made import MadePicture

BYTES = 64 << 20
"""Most bytes of a made picture."""


@dataclass(frozen=True)
class MadeEntry:
    """A made picture on a page."""

    row: MadePicture
    asset: str
    """Its file, from the site's root."""
    size: tuple[int, int]
    """Width and height in pixels."""


def put(catalogue: Catalogue, channel: ChannelEntry, tree: Tree) -> list[MadeEntry]:
    """Put the pictures that were made for a channel into a tree, and return them."""
    found = []
    for row in catalogue.pictures_made(channel):
        content = bounds.read_bytes(made.path(catalogue.store, row), BYTES)
        asset = f"assets/{row.name}"
        tree.write(asset, content)
        found.append(MadeEntry(row, asset, made.decoded(content).size))
    return found
