"""Where the pictures come from: folders, `datasets`, or the demo world.

`open_source` turns the `[data]` table of a recipe into a `Source`, which gives its samples
in a fixed order, each as a `Record` whose picture is decoded only when it is asked for.
"""

from pathlib import Path

from atlas.data.labels import match_labels
from atlas.data.source import Record, Source
from atlas.errors import UserError
from atlas.recipe import Data

__all__ = ["Record", "Source", "holds", "match_labels", "open_source"]


def holds(data: Data, path: Path) -> bool:
    """Say whether pictures under `path` are among the data that a recipe asks for."""
    kind, _, name = data.source.partition(":")
    if kind != "folder" or not name:
        return False
    return path.resolve().is_relative_to(Path(name).expanduser().resolve())


def open_source(data: Data) -> Source:
    """Open the data that a recipe asks for.

    Parameters
    ----------
    data : atlas.recipe.Data
        The `[data]` table.

    Raises
    ------
    UserError
        The data does not exist, cannot be reached, or is not what the recipe says.
    """
    kind, _, name = data.source.partition(":")
    # Each kind is imported when it is used: `datasets` alone takes seconds.
    if kind == "folder" and name:
        from atlas.data.folder import open_folder  # noqa: PLC0415

        return open_folder(name, data.limit)
    if kind == "hf" and name:
        from atlas.data.hub import open_hub  # noqa: PLC0415

        return open_hub(data, name)
    if data.source == "demo:world":
        from atlas.data.drawn import open_world  # noqa: PLC0415

        return open_world(data.seed, data.limit)
    raise UserError(
        f"data.source = {data.source!r}: give folder:DIR, hf:NAME or demo:world, "
        "as --set data.source=folder:photos"
    )
