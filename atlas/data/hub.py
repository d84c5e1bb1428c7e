"""`hf:NAME`: data sets on the Hugging Face Hub, and local folders of their formats.

NAME is a name on the Hub ("ILSVRC/imagenet-1k") or a directory: one of Parquet files or of
WebDataset shards (`datasets` finds out which), or one that `save_to_disk` wrote. Nothing
is sent or asked over the network for a directory.

With `streaming` samples are read in the order of the files, each of which can be read
without the others; finding some again means to pass over those before them, without decoding
them. Without it the data set is first copied into the cache of `datasets`, and any sample is
at hand at once.
"""

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from PIL import Image

from atlas.data import sampling, webdataset
from atlas.data.access import offline_if_unreachable, unavailable
from atlas.data.columns import LabelKind, image_column, label_column, several_labels
from atlas.data.images import BadImage, decode
from atlas.data.source import Description, LeftOut, Record, ascending, missing_sample, slug
from atlas.errors import UserError
from atlas.recipe import Data

Rows: TypeAlias = datasets.Dataset | datasets.IterableDataset

_KEY = "__key__"  # the name of a sample in a WebDataset shard

_PATTERN = re.compile(r"[\[\]*?{}]")
"""What `datasets` takes for a pattern of names in the path of a folder."""

_SHARDS = frozenset({".parquet", ".tar"})
"""Endings of files that hold many samples each. (A folder of pictures is a stream, too.)"""


@dataclass(frozen=True)
class Hub:
    """One split of a data set. See `atlas.data.source.Sharded`.

    Attributes
    ----------
    recipe : Data
        What was asked for.
    rows : datasets.Dataset or datasets.IterableDataset
        The samples, with undecoded pictures.
    image, label : str
        Columns; `label` is None where the data has no labels.
    others : tuple of str
        Columns of which one has the picture where `image` has none.
    classes : tuple of str or None
        Names of the labels.
    texts : dict or None
        Index into `classes` of each label that is a text.
    label_numbers : tuple of int or None
        See `atlas.data.source.Source`.
    count : int or None
        Number of samples, where the data set says so.
    shards : int
        Files of a stream that can be read one without the others; else 1.
    identity : dict
        What `describe` returns.
    remarks : tuple of str
        Columns that are not used, but may have been meant.
    """

    recipe: Data
    rows: Rows
    image: str
    others: tuple[str, ...]
    label: str | None
    classes: tuple[str, ...] | None
    texts: dict[str, int] | None
    label_numbers: tuple[int, ...] | None
    count: int | None
    shards: int
    identity: Description
    remarks: tuple[str, ...]

    @property
    def left_out(self) -> LeftOut:
        """Nothing is known of it: `datasets` chooses the files."""
        return LeftOut()

    @property
    def name(self) -> str:
        """The last part of the data set's name, its configuration if one was chosen, its split."""
        last = str(self.identity["source"]).removeprefix("hf:").rpartition("/")[2]
        return slug(f"{last} {self.recipe.config} {self.recipe.split}")

    @property
    def random_access(self) -> bool:
        """A stream is read from its start; what is on the disk is not."""
        return isinstance(self.rows, datasets.Dataset)

    def describe(self) -> Description:
        """Return what identifies the data: on the Hub the commit, else a fingerprint."""
        return dict(self.identity)

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yield the samples from ordinal `start` on."""
        rows = self._rows(self.rows, start)
        limit = self.recipe.limit
        for index, row in enumerate(
            islice(rows, None if limit is None else max(0, limit - start)), start
        ):
            yield self._record(index, self._key(index, row.get(_KEY)), row)

    def shard(self, number: int, start: int = 0) -> Iterator[Record]:
        """Yield the samples of a shard from its ordinal `start` on."""
        rows = self._rows(self.rows.shard(self.shards, number), start)
        for index, row in enumerate(rows, start):
            yield self._record(index, f"shard {number}, sample {index}/{row.get(_KEY, '')}", row)

    def whole_key(self, key: str, index: int) -> str:
        """Return the key in the source of a sample whose key in its shard is known."""
        return self._key(index, key.partition("/")[2] or None)

    def fetch(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the samples with these ordinals, each once, ascending."""
        if isinstance(self.rows, datasets.Dataset):
            at_hand = ascending(indices, self.count)
            rows = self._guarded(lambda: map(self.rows.__getitem__, at_hand))
            for index, row in zip(at_hand, rows, strict=True):
                yield self._record(index, self._key(index, row.get(_KEY)), row)
            return
        chosen = ascending(indices, self.recipe.limit)
        if not chosen:
            return
        wanted = iter(chosen)
        index = next(wanted)
        for ordinal, row in enumerate(self._rows(self.rows, chosen[0]), chosen[0]):
            if ordinal == index:
                yield self._record(index, self._key(index, row.get(_KEY)), row)
                following = next(wanted, None)
                if following is None:
                    return
                index = following
        raise missing_sample(index, None)

    def _rows(self, rows: Rows, start: int) -> Iterator[dict[str, Any]]:
        """Yield the rows from ordinal `start` on, all of them in whichever process this is."""
        # In a worker of a DataLoader `iter(rows)` would leave out the shards of the others.
        for columns in self._guarded(lambda: rows.skip(start).iter(batch_size=1)):
            yield {name: column[0] for name, column in columns.items()}

    def _guarded(self, start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Yield what an iterator of `datasets` does, with its errors translated."""
        try:
            # Readers, pyarrow, tarfile and the HTTP client raise what they like.
            yield from start()
        except Exception as error:
            raise unavailable(_name(self.recipe), error) from error

    def _key(self, index: int, name: str | None) -> str:
        key = f"{self.recipe.split}/{index:07d}"
        # Names may come again in the next shard, ordinals not.
        return key if name is None else f"{key}/{name}"

    def _record(self, index: int, key: str, row: dict[str, Any]) -> Record:
        label = row[self.label] if self.label is not None else None
        if self.texts is not None:
            label = None if label is None else self.texts[label]
        elif self.label is not None:
            label = _whole(label, self.label)
        cells = (row[column] for column in (self.image, *self.others))
        picture = next((cell for cell in cells if cell is not None), None)
        return Record(index, key, label, partial(_picture, picture))


def open_hub(recipe: Data, name: str) -> Hub:
    """Open a data set through `datasets`.

    Parameters
    ----------
    recipe : Data
        The `[data]` table.
    name : str
        What stands behind `hf:` in it.

    Raises
    ------
    UserError
        The data set does not exist, is gated, cannot be reached, has no such split,
        configuration or column, or has labels whose names only a full pass would show.
    """
    folder = Path(name).expanduser()
    local = folder.is_dir()
    if folder.is_file() and folder.suffix.lower() == ".zip":
        raise UserError(f"{name!r} is an archive: unpack it, and give its directory as folder:DIR")
    if folder.is_file():
        raise UserError(f"{name!r} is a file: give the directory that it is in as hf:DIR")
    if local and (special := _PATTERN.search(str(folder.resolve()))):
        raise UserError(
            f"{str(folder.resolve())!r} has {special[0]!r} in it, which `datasets` takes for a "
            "pattern: rename that folder"
        )
    try:
        with nullcontext() if local else offline_if_unreachable():
            loaded = _load(recipe, str(folder.resolve()) if local else name)
            rows, files, count = loaded.rows, loaded.files, loaded.count
            features = loaded.features or rows.features or _features_of_first(rows)
            image = image_column(features, recipe.image_column)
            label = label_column(features, recipe.label_column)
            every = _every_label(rows, label, files)
    except UserError:
        raise
    except Exception as error:  # see Hub._guarded
        raise unavailable(name, error) from error
    others = () if recipe.image_column else loaded.others
    if isinstance(features[image], datasets.Image) and features[image].decode:
        rows = rows.cast_column(image, datasets.Image(decode=False))
    classes, texts, numbers = _labels(features, label, every)
    keep = {image, _KEY} & features.keys() | ({label[0]} if label else set()) | {*others}
    rows = rows.select_columns([column for column in (*features, *others) if column in keep])
    if recipe.limit is not None and count is not None:
        count = min(count, recipe.limit)
    if recipe.limit is not None and isinstance(rows, datasets.Dataset):
        rows = rows.take(count)
    identity: Description = {
        "source": f"hf:{folder.resolve().name if local else name}",
        "split": recipe.split,
        "config": loaded.config,
        "revision": None if local else loaded.commit,
        "fingerprint": _fingerprint(files) if local else None,
    }
    shards = 1
    if isinstance(rows, datasets.IterableDataset) and recipe.limit is None:
        # With a limit only those who read from the start know where to stop.
        shards = rows.num_shards if {Path(file).suffix for file in files} <= _SHARDS else 1
    remarks = () if label else tuple(several_labels(features))
    return Hub(
        recipe, rows, image, others, label and label[0], classes, texts, numbers, count, shards,
        identity, remarks,
    )  # fmt: skip


@dataclass(frozen=True)
class _Loaded:
    """What `datasets` makes of a recipe."""

    rows: Rows
    files: Sequence[str]
    """Files that the split is read from."""
    count: int | None
    config: str | None = None
    commit: str | None = None
    features: datasets.Features | None = None
    """Types of the columns, where `rows` has columns that stand for one."""
    others: tuple[str, ...] = ()
    """Columns that could have been used as well, as in `Hub`."""


def _load(recipe: Data, path: str) -> _Loaded:
    if Path(path, "state.json").is_file() or Path(path, "dataset_dict.json").is_file():
        rows = datasets.load_from_disk(path)
        if isinstance(rows, datasets.DatasetDict):
            if recipe.split not in rows:
                splits = ", ".join(rows)
                raise UserError(f"no split {recipe.split!r} in {path!r}, which has {splits}")
            rows = rows[recipe.split]
        return _Loaded(rows, [file["filename"] for file in rows.cache_files], len(rows))
    builder = datasets.load_dataset_builder(
        path, name=recipe.config or None, revision=recipe.revision or None
    )
    by_split = builder.config.data_files or {}
    files = by_split.get(recipe.split) or [file for split in by_split.values() for file in split]
    features, others = webdataset.look(builder) if webdataset.is_webdataset(builder) else (None, ())
    archive = next((file for file in files if file.endswith((".zip", ".tar.gz", ".tgz"))), None)
    # It finds the classes inside, and then takes the folder of the archive for the label.
    if (
        archive
        and isinstance(builder, ImageFolder)
        and "label" in (builder.as_streaming_dataset(split=recipe.split).features or ())
    ):
        raise UserError(
            f"{Path(archive).name!r} of hf:{_name(recipe)} is an archive of class folders, "
            "which `datasets` cannot read: unpack it, and give its directory as folder:DIR"
        )
    if recipe.streaming:
        rows = builder.as_streaming_dataset(split=recipe.split)
        count = None
        if builder.info.splits and recipe.split in builder.info.splits:
            count = builder.info.splits[recipe.split].num_examples or None
    else:
        builder.download_and_prepare()
        rows = builder.as_dataset(split=recipe.split)
        count = len(rows)
    if count is None and all(Path(f).suffix == ".parquet" and Path(f).is_file() for f in files):
        count = sum(pq.read_metadata(file).num_rows for file in files)
    return _Loaded(rows, files, count, builder.config.name, builder.hash, features, others)


def _features_of_first(rows: Rows) -> datasets.Features:
    """Return the types of the columns as the first sample shows them."""
    first = next(iter(rows), None)
    if first is None:
        raise UserError("the data set has no samples")
    return datasets.Features.from_arrow_schema(pa.Table.from_pylist([first]).schema)


def _every_label(
    rows: Rows, label: tuple[str, LabelKind] | None, files: Sequence[str]
) -> list[Any] | None:
    """Return the different labels that are no classes; None where that takes a full pass."""
    if label is None or label[1] == "classes":
        return []
    if isinstance(rows, datasets.Dataset):
        return list(rows.unique(label[0]))
    if not all(Path(file).suffix == ".parquet" and Path(file).is_file() for file in files):
        return None
    found: set[Any] = set()
    for file in files:
        column = pq.ParquetFile(file).read(columns=[label[0]]).column(0)
        found.update(column.unique().to_pylist())
    return list(found)


def _labels(
    features: datasets.Features, label: tuple[str, LabelKind] | None, every: list[Any] | None
) -> tuple[tuple[str, ...] | None, dict[str, int] | None, tuple[int, ...] | None]:
    """Return the names of the labels, the numbers of labels that are texts, and bare numbers."""
    if label is None:
        return None, None, ()
    column, kind = label
    if kind == "classes":
        return tuple(features[column].names), None, ()
    if kind != "texts":
        if every is None:
            return None, None, None
        whole = {_whole(value, column) for value in every}
        return None, None, tuple(sorted(number for number in whole if number is not None))
    if every is None:
        raise UserError(
            f"the labels in column {column!r} are texts, and a stream does not show which there "
            "are: read the data whole with --set data.streaming=false, or choose a "
            "column of numbers with --set data.label_column=NAME"
        )
    names = tuple(sorted(set(every) - {None}))
    return names, {name: number for number, name in enumerate(names)}, ()


def _whole(label: float | None, column: str) -> int | None:
    """Return a label that is a number; None where the data marks that there is none.

    Raises
    ------
    UserError
        It is no whole number.
    """
    if label is None or math.isnan(label) or label < 0:  # pandas has NaN for none
        return None
    if not float(label).is_integer():
        raise UserError(
            f"the column {column!r} has {label!r}, which is no label: choose another with "
            "--set data.label_column=NAME"
        )
    return int(label)


def _fingerprint(files: Sequence[str]) -> str:
    """Return the SHA-256 over path and size of the files in their order, and a sample of bytes."""
    base = Path(files[0]).parent if len(files) == 1 else Path(os.path.commonpath(files))
    digest = hashlib.sha256()
    for file in files:
        path = Path(file)
        digest.update(f"{path.relative_to(base).as_posix()}\0{path.stat().st_size}\n".encode())
    digest.update(sampling.digest([Path(file) for file in files]))
    return digest.hexdigest()


def _name(recipe: Data) -> str:
    return recipe.source.partition(":")[2]


def _picture(cell: Mapping[str, Any] | bytes | None) -> Image.Image:
    """Decode what a column of pictures holds: the file's content, or where it is.

    Raises
    ------
    BadImage
        There is nothing, or nothing that can be decoded.
    UserError
        It is on the Hub, which cannot be reached any more.
    """
    if not isinstance(cell, Mapping):
        content, path = cell, None
    else:
        content, path = cell["bytes"], cell.get("path")
    if content is not None:
        return decode(content)
    if path is None:
        raise BadImage("no picture in this row")
    return decode(_download(path) if "://" in path else Path(path))


def _download(address: str) -> bytes:
    """Return the content of a file on the Hub that a stream only points to."""
    try:
        with datasets.utils.file_utils.xopen(address, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise BadImage("no such file on the Hub") from error
    except Exception as error:  # a lost connection must not look like a million bad pictures
        name = address.rpartition("hf://datasets/")[2].partition("@")[0]
        raise unavailable(name, error) from error
