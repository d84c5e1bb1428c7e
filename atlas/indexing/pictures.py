"""Store every referenced picture once, as the network sees it."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from PIL import Image
from tqdm import tqdm

from atlas.data import Record, Source
from atlas.data.images import BadImage
from atlas.errors import UserError
from atlas.model.preprocessing import Preprocessor
from atlas.store import Store, files

WEBP_QUALITY = 90
"""Hardly told from the original by eye, at a seventh of the size of a lossless file."""

AT_ONCE = 64
"""Pictures whose files are in memory at a time."""


def store_pictures(store: Store, source: Source, preprocessing: Preprocessor) -> None:
    """Fetch the pictures that images.parquet lists and complete its rows.

    A picture's file name is made from what decides its pixels (source, key, preprocessing),
    so that an interrupted run goes on and a changed one never shows an old picture.

    Raises
    ------
    UserError
        A picture that the pre-pass read can be read no more.
    """
    table = store.table("images").select(["index", "key"]).to_pydict()
    origin = f"{source.describe()}\n{preprocessing.describe()}"
    paths = [_path(origin, key) for key in table["key"]]
    missing = {
        index: (key, path)
        for index, key, path in zip(table["index"], table["key"], paths, strict=True)
        if not (store.pictures_root / path).is_file()
    }

    def save(record: Record) -> int:
        key, path = missing[record.index]
        view = preprocessing.view(_open(record, key))
        with files.atomic_path(store.pictures_root / path) as temporary:
            view.save(temporary, "WEBP", quality=WEBP_QUALITY, method=4)
        return record.index

    records, saved = _fetch(source, missing), set[int]()
    with (
        tqdm(total=len(paths), initial=len(paths) - len(missing), desc="pictures") as progress,
        ThreadPoolExecutor(os.cpu_count()) as threads,  # Pillow computes without Python's lock
    ):
        while some := [*threads.map(save, islice(records, AT_ONCE))]:
            saved.update(some)
            progress.update(len(some))
    if lost := [missing[index][0] for index in missing if index not in saved]:
        raise UserError(
            f"the data no longer has {lost[0]} ({len(lost)} pictures in all): it changed since the "
            "pre-pass; build into another directory, or restore it"
        )
    _remove_others(store, set(paths))
    height, width = preprocessing.size
    store.extend_table(
        "images",
        {
            "width": [width] * len(paths),
            "height": [height] * len(paths),
            "path": paths,
            "sha256": [files.sha256(store.pictures_root / path) for path in paths],
        },
    )


def _path(origin: str, key: str) -> str:
    digest = hashlib.sha256(f"{origin}\n{key}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"images/{digest[:2]}/{digest[:20]}.webp"


def _fetch(source: Source, wanted: dict[int, tuple[str, str]]) -> Iterator[Record]:
    """Yield the wanted records, after a check that each still is the one it was."""
    for record in source.fetch(sorted(wanted)):
        if record.key == wanted[record.index][0]:
            yield record


def _open(record: Record, key: str) -> Image.Image:
    try:
        return record.picture()
    except BadImage as error:
        raise UserError(
            f"{key} was readable in the pre-pass and no longer is ({error}): restore it and run "
            "the same command again"
        ) from error


def _remove_others(store: Store, paths: set[str]) -> None:
    """Delete pictures of earlier builds that nothing refers to."""
    for path in (store.root / "images").glob("*/*.webp"):
        if path.relative_to(store.root).as_posix() not in paths:
            path.unlink()
