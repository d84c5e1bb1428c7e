"""Where the pictures come from: folders, `datasets`, or the demo world.

`open_source` turns the `[data]` table of a recipe into a `Source`, which gives its samples
in a fixed order, each as a `Record` whose picture is decoded only when it is asked for.
"""

from pathlib import Path

from atlas.data.images import HEIF, HEIF_ENDINGS, WITH_HEIF
from atlas.data.labels import match_labels
from atlas.data.outputs import Matching, match_outputs, output_names
from atlas.data.source import LeftOut, Record, Source, format_counts
from atlas.errors import UserError
from atlas.recipe import Data

__all__ = [
    "LeftOut",
    "Matching",
    "Record",
    "Source",
    "format_counts",
    "holds",
    "match_labels",
    "match_outputs",
    "open_source",
    "output_names",
    "too_many",
]


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

        return _enough(open_folder(name, data.limit), data.most_skipped)
    if kind == "hf" and name:
        from atlas.data.hub import open_hub  # noqa: PLC0415

        return _enough(open_hub(data, name), data.most_skipped)
    if data.source == "demo:world":
        from atlas.data.drawn import open_world  # noqa: PLC0415

        return open_world(data.seed, data.limit)
    raise UserError(
        f"data.source = {data.source!r}: give folder:DIR, hf:NAME or demo:world, "
        "as --set data.source=folder:photos"
    )


def too_many(what: str, share: float, most: float) -> UserError:
    """Return the error about pictures that are left out, more than a recipe allows.

    Parameters
    ----------
    what : str
        How many of how many, and why.
    share, most : float
        Their share, and `data.most_skipped`.
    """
    return UserError(
        f"{what}; that is {share:.0%}, and data.most_skipped = {most:g}: mend them, or go on "
        f"without them with --set data.most_skipped={min(1.0, share + 0.01):.2f}"
    )


def _enough(source: Source, most: float) -> Source:
    """Return a source unless too many pictures beside it are not read."""
    lost = source.left_out
    if lost.share > most:
        heic = " (" + WITH_HEIF + ")" if not HEIF and HEIF_ENDINGS & lost.pictures.keys() else ""
        raise too_many(
            f"{sum(lost.pictures.values())} pictures beside the {lost.taken} that are read would "
            f"be left out: {format_counts(lost.pictures)}{heic}",
            lost.share,
            most,
        )
    return source
