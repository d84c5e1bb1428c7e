"""An atlas as data for other tools."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from atlas.api.contents import Contents
from atlas.errors import UserError
from atlas.export import csv, hf
from atlas.formats import crp_folder, milan_folder

Format = Literal["hf", "csv", "crp", "milan"]


def export(contents: Contents, out: Path, form: Format) -> None:
    """Write an atlas into an empty directory, in a format of other tools.

    Parameters
    ----------
    contents : Contents
        A finished atlas; its recipe's `[site] images` says what is passed on of the pictures, and
        `[cite]` on which terms.
    out : Path
        The directory; it is made if it is missing.
    form : {"hf", "csv", "crp", "milan"}
        A data set for `datasets` with card and Croissant, tables for spreadsheets, a folder of
        zennit-crp's FeatureVisualization, or exemplars as MILAN reads them.

    Raises
    ------
    UserError
        The directory has files, or the format needs pictures that may not be published.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is there already: give an empty or a new directory")
    images = contents.recipe.site.images
    if form == "milan" and images != "full":
        raise UserError(
            f"site.images = {images!r}, and MILAN's exemplars are whole pictures: "
            "set it to 'full' if they may be passed on"
        )
    writers: Mapping[str, Callable[[], object]] = {
        "hf": lambda: hf.write(contents, out),
        "csv": lambda: csv.write(contents, out),
        "crp": lambda: crp_folder.write(contents.store, out),
        "milan": lambda: _write_milan(contents, out),
    }
    out.mkdir(parents=True, exist_ok=True)
    writers[form]()


def _write_milan(contents: Contents, out: Path) -> None:
    for mode in contents.modes:
        milan_folder.write(contents.store, out / mode, mode)


__all__ = ["Format", "export"]
