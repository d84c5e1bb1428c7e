"""Shards of WebDataset: which members their samples have, whatever those of the first shard have.

`datasets` takes the members of the first samples for those of all: a picture that is a `png`
where the first were `jpg` is dropped in silence, a sample without a `cls` is an error. Here the
first samples of several shards decide, and every usual ending of a picture is looked for.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets.packaged_modules.webdataset.webdataset import WebDataset

from atlas.data.images import ENDINGS

SAMPLES = 5
"""Samples of each shard that are looked at."""

LOCAL, REMOTE = 64, 4
"""Shards that are looked at, on this machine and elsewhere, where each takes a second."""

_WORDS = sorted(ending[1:] for ending in ENDINGS)
_ENDINGS = (*_WORDS, *(ending.upper() for ending in _WORDS))
"""Members that are the picture of a sample, whichever of them it has."""


def _number(data: bytes) -> int | None:
    """Return what a member holds that is a number; None where it is empty."""
    return int(data) if data.strip() else None


_NUMBERS = frozenset({name for name, decode in WebDataset.DECODERS.items() if decode is int})

# Shared by all readers of a process, and set again in each, which imports this module.
_decoders: dict[str, Callable[[bytes], Any]] = WebDataset.DECODERS
_decoders.update(dict.fromkeys(_NUMBERS, _number))


def is_webdataset(builder: datasets.DatasetBuilder) -> bool:
    """Say whether `datasets` reads this data as shards of WebDataset."""
    return isinstance(builder, WebDataset)


def look(builder: datasets.DatasetBuilder) -> tuple[datasets.Features, tuple[str, ...]]:
    """Find the members of samples, and make them known to `datasets`.

    Parameters
    ----------
    builder : datasets.DatasetBuilder
        Builder of shards; it reads all these members afterwards.

    Returns
    -------
    features : datasets.Features
        Types of the members that were found. Where no sample has two pictures, the first of
        the kinds found stands for all.
    others : tuple of str
        Further members that are the picture of samples that lack that one.
    """
    found: datasets.Features = datasets.Features()
    together = False
    for sample in _samples(builder):
        pictures = [name for name in sample if name in _ENDINGS]
        together |= len(pictures) > 1
        for name, kind in _types(sample).items():
            if name not in found or found[name].dtype == "null":
                found[name] = kind
    for name, kind in found.items():
        if _last(name) in _NUMBERS and kind.dtype == "null":
            found[name] = datasets.Value("int64")
    pictures = [name for name in found if name in _ENDINGS]
    others: tuple[str, ...] = ()
    if pictures and not together:
        others = tuple(name for name in (*pictures, *_ENDINGS) if name != pictures[0])
        others = tuple(dict.fromkeys(others))
    picture = datasets.Image(decode=False)
    builder.info.features = datasets.Features({**found, **dict.fromkeys(others, picture)})
    return datasets.Features({k: v for k, v in found.items() if k not in others}), others


def _samples(builder: datasets.DatasetBuilder) -> list[dict[str, Any]]:
    every = [str(file) for split in (builder.config.data_files or {}).values() for file in split]
    most = LOCAL if all(Path(file).is_file() for file in every) else REMOTE
    reading = datasets.StreamingDownloadManager()
    return [
        sample
        for file in _spread(every, most)
        for sample in islice(
            builder._get_pipeline_from_tar(file, reading.iter_archive(file)), SAMPLES
        )
    ]


def _types(sample: dict[str, Any]) -> datasets.Features:
    """Return the types of a sample's members, as `datasets` finds them."""
    known = {
        name: None if _last(name) in WebDataset.IMAGE_EXTENSIONS else value
        for name, value in sample.items()
    }
    plain = datasets.features.features.cast_to_python_objects([known], only_1d_for_numpy=True)
    kinds = datasets.Features.from_arrow_schema(pa.Table.from_pylist(plain).schema)
    for name in kinds:
        if _last(name) in WebDataset.IMAGE_EXTENSIONS:
            kinds[name] = datasets.Image(decode=False)
    return kinds


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _spread(files: Sequence[str], most: int) -> list[str]:
    """Return at most `most` of the files, evenly spread, with both ends."""
    if len(files) <= most:
        return list(files)
    return [files[place * (len(files) - 1) // (most - 1)] for place in range(most)]
