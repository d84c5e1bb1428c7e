"""Tables about what is published: the site and how it is cited."""

from typing import Literal

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
