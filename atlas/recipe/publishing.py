"""Tables about what is published: the site and how it is cited."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT

Images = Literal["full", "thumbs", "none"]


@dataclass(frozen=True, config=STRICT)
class Site:
    """`[site]`: the pages."""

    title: str = ""
    """Title of the site; empty means made from the model and the data."""

    description: str = ""
    """One or two sentences about this atlas for its home page."""

    images: Images = "full"
    """What is published of the data's pictures: `full`, as the network saw them; `thumbs`, at most
    64 pixels wide; `none`, no pixel, only their keys, the boxes and the shapes of the maps."""


@dataclass(frozen=True, config=STRICT)
class Cite:
    """`[cite]`: how the atlas is cited, and under which terms it may be used."""

    title: str = ""
    """Title of the atlas in a bibliography; empty means that of the site."""

    authors: tuple[str, ...] = ()
    """Who made the atlas: persons as `Family, Given`; a name without a comma is taken whole."""

    date: Annotated[str, Field(pattern=r"^(\d{4}(-\d{2}(-\d{2})?)?)?$")] = ""
    """When it was published, as 2026-11-21, 2026-11 or 2026; empty means when it was made."""

    version: str = ""
    """Version of the atlas; empty means the last part of its id."""

    url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    """Where its site is published; permalinks begin with it."""

    older: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")], ...] = ()
    """Earlier versions: the last parts of their ids, or of versions by which pages of factors were
    cited. Their sites are kept in folders of these names beside index.html: citations of them lead
    on to the page as it was."""

    doi: str = ""
    """DOI of the atlas, as 10.5281/zenodo.1234567."""

    license: str = ""
    """Terms of the atlas's own content (tables, names, texts), as an SPDX identifier: CC-BY-4.0."""

    rights: str = ""
    """What holds for the data's pictures, for people: who has the rights, what is allowed."""
