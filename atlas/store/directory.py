"""The atlas directory: which files it has, what stands in them, how they are read and written.

Stages know this module and nothing of each other: each reads tables that earlier stages
wrote and writes its own. A table gains columns from stage to stage; `COLUMNS` has them all.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from atlas.errors import UserError, one_line
from atlas.store import bounds, checks, files, manifests

SCHEMA_VERSION = 1
"""Raised when a reader of the old tables could misread the new ones."""

Mode = Literal["activation", "relevance"]
MODES: tuple[Mode, Mode] = ("activation", "relevance")
"""The modes in the order in which they stand in references.parquet."""

NAME_BY_METHOD = pa.struct({"method": pa.string(), "name": pa.string()})

SENSE = pa.struct({
    "name": pa.string(),
    "description": pa.string(),
    "confidence": pa.float32(),
    "share": pa.float32(),  # of the relevance references
})  # fmt: skip

KINDS_OF_CHANGE = ("hue", "saturation", "contrast", "texture", "shape")
"""What is changed in pictures to find out what a channel reacts to."""

INFLUENCE = pa.struct({kind: pa.float32() for kind in KINDS_OF_CHANGE})

MEASURED: dict[str, dict[str, pa.DataType]] = {
    "channels": {
        "layer": pa.string(),
        "channel": pa.int32(),
        "images": pa.int64(),  # pictures measured
        "act_mean": pa.float32(),  # over pictures and positions of the raw layer output
        "act_max": pa.float32(),
        "act_density": pa.float32(),  # share of pictures and positions with a positive output
        "act_edges": pa.list_(pa.float32()),  # of the bins of act_counts, one more than counts
        "act_counts": pa.list_(pa.int64()),  # pictures by their largest output, where positive
        "rel_mean": pa.float32(),  # mean relevance share of the layer
        "rel_abs_mean": pa.float32(),  # mean of |relevance share|
        "top_classes": pa.list_(pa.int32()),  # rows of classes, by falling mean share
        "top_class_shares": pa.list_(pa.float32()),
        # Rows of channels by falling correlation over all pictures, where that is above 0:
        "together": pa.list_(pa.int32()),  # of the largest outputs, within the layer
        "together_correlations": pa.list_(pa.float32()),
        "lower": pa.list_(pa.int32()),  # of relevance shares, with the layer before
        "lower_correlations": pa.list_(pa.float32()),
        "upper": pa.list_(pa.int32()),  # and with the layer after
        "upper_correlations": pa.list_(pa.float32()),
        "neighbours": pa.list_(pa.int32()),  # rows of channels, by falling similarity
        "neighbour_similarities": pa.list_(pa.float32()),  # cosine of mean patch vectors
    },
    "references": {
        "layer": pa.string(),
        "channel": pa.int32(),
        "mode": pa.string(),
        "rank": pa.int32(),  # from 0, best first
        "score": pa.float32(),
        "image": pa.int32(),  # row of images
        "label": pa.int32(),  # class of the picture in the data, an output of the network
        "predicted": pa.int32(),
        "y": pa.int32(),  # peak unit on the layer's map
        "x": pa.int32(),
        "x0": pa.int32(),  # patch box in pixels of the stored picture, half-open
        "y0": pa.int32(),
        "x1": pa.int32(),
        "y1": pa.int32(),
    },
    "bands": {
        "layer": pa.string(),
        "channel": pa.int32(),
        "band": pa.string(),  # of BANDS, from the top of its activation down
        "image": pa.int32(),  # row of images
        "activation": pa.float32(),  # the channel's largest output there
        "weight": pa.float64(),  # how many pictures of the data it stands for
        "y": pa.int32(),  # peak unit on the layer's map
        "x": pa.int32(),
    },
    "images": {
        "image": pa.int32(),
        "index": pa.int64(),  # ordinal in the source
        "key": pa.string(),
        "label": pa.int32(),
        "predicted": pa.int32(),
        "width": pa.int32(),
        "height": pa.int32(),
        "path": pa.string(),  # in the atlas directory, with forward slashes
        "sha256": pa.string(),
    },
    "classes": {
        "label": pa.int32(),  # output of the network
        "name": pa.string(),
        "count": pa.int64(),  # pictures whose relevance was computed for this class
        "shares": pa.list_(pa.float32()),  # mean relevance share, in the order of channels
        # Of factors: their mean activation share (the largest output in a picture, as a share of
        # the sum of those of the layer's factors).
        "fired": pa.list_(pa.float32()),
    },
    "samples": {
        "target": pa.int32(),  # the class that the picture was counted for
        "index": pa.int64(),  # ordinal in the source
        "label": pa.int32(),  # class of the picture in the data, an output of the network
        "predicted": pa.int32(),
        "shares": pa.list_(pa.float32()),  # relevance share of each factor, in their order
    },
}
"""The columns that `atlas index` writes."""

REASONED: dict[str, dict[str, pa.DataType]] = {
    "channels": {
        # Rows of channels (and of classes) by falling strength: largest weight times mean peak of
        # the input, as a share of the sum over all inputs of the atlas that the reader has.
        "made_of": pa.list_(pa.int32()),  # the strongest inputs
        "made_of_shares": pa.list_(pa.float32()),
        "held_back_by": pa.list_(pa.int32()),  # those with the most negative weights
        "held_back_by_shares": pa.list_(pa.float32()),
        "goes_into": pa.list_(pa.int32()),  # the channels of which it is the largest share
        "goes_into_shares": pa.list_(pa.float32()),
        "goes_into_classes": pa.list_(pa.int32()),  # and the classes
        "goes_into_class_shares": pa.list_(pa.float32()),
        # By how much the activation on its references drops when pictures are changed:
        "influence": INFLUENCE,  # 1: to nothing; below 0: it rises
        "influence_relative": INFLUENCE,  # in spreads above the median of the layer
    },
}
"""The columns that say why: of the weights, and of changed pictures. Older atlases lack them."""

NAMED: dict[str, dict[str, pa.DataType]] = {
    "channels": {
        "name": pa.string(),  # null: no name, for the reason in name_status
        "description": pa.string(),  # one sentence
        "name_confidence": pa.float32(),  # what the namer says of itself, 0 to 1
        "name_status": pa.string(),  # named, no clear concept, unnamed (an unusable answer)
        "named_by": pa.string(),  # vlm, labels, clip or person
        "namer": pa.string(),  # which model or who
        "other_names": pa.list_(NAME_BY_METHOD),  # what the other methods say
        "name_agreement": pa.float32(),  # of the methods that ran, 0 to 1
        "senses": pa.list_(SENSE),  # by falling share; empty unless there is more than one
        "name_state": pa.string(),  # of STATES; null: nobody was asked
        "name_tried": pa.string(),  # what was tried where none was found
        "used_for": pa.string(),  # of one-sided names: what references by relevance show ...
        "fires_for": pa.string(),  # ... and those by activation; null: nothing in common
        "fits_relevance": pa.float32(),  # share of the references shown that fit the name
        "fits_activation": pa.float32(),
        # Of the name in score_name, by pictures of all bands, weighted: estimates for all pictures.
        "score_name": pa.string(),
        "score_ap": pa.float32(),  # average precision
        "score_ap_low": pa.float32(),  # ends of its 95 % interval
        "score_ap_high": pa.float32(),
        "score_f1": pa.float32(),  # at the best threshold
        "score_f1_low": pa.float32(),
        "score_f1_high": pa.float32(),
        "score_correlation": pa.float32(),  # Pearson's, of answers and activations
        "score_correlation_low": pa.float32(),
        "score_correlation_high": pa.float32(),
        "score_base_rate": pa.float32(),  # average precision of "anything"
        "score_borrowed_ap": pa.float32(),  # mean of other channels' names, the next among them
        "score_frequent_ap": pa.float32(),  # of the most frequent name of the atlas
        "score_clarity": pa.float32(),  # intruders found among references without a name
        "score_label_auc": pa.float32(),  # of the best combination of labels
        "name_by_weights": pa.string(),  # words that the names of its strongest inputs share
        "weights_agree": pa.bool_(),  # whether the name has one of them
    },
    "references": {
        "sense": pa.int32(),  # which of the channel's senses, null without senses
    },
}
"""The columns that naming and scoring add."""

TESTED = tuple(
    name
    for name in NAMED["channels"]
    if name.startswith("score_") and name not in ("score_clarity", "score_label_auc")
)
"""The columns that hold the test of a name on the whole range, and are about that name."""

COLUMNS = {
    name: {**columns, **REASONED.get(name, {}), **NAMED.get(name, {})}
    for name, columns in MEASURED.items()
}
"""Every column of every table, in order."""

OPTIONAL = ("bands", "samples")
"""Tables that atlases lack which were made before there were any; only factors have `samples`."""

ARRAYS = ("masks.npy",)
"""`masks.npy`: uint8 (rows of references, 16, 16), the channel's map inside the patch box."""

MASK_SIDE = 16

FIRST = {
    "channels": ("layer", "channel", "images", "act_mean", "act_max", "act_density", "rel_mean",
                 "rel_abs_mean", "top_classes", "top_class_shares"),
    "references": ("layer", "channel", "mode", "rank", "score", "image", "label", "predicted",
                   "y", "x"),
    "bands": ("layer", "channel", "band", "image", "activation", "weight", "y", "x"),
    "images": ("image", "index", "key", "label", "predicted"),
    "classes": ("label", "name", "count", "shares"),
    "samples": ("target", "index", "label", "predicted", "shares"),
}  # fmt: skip
"""Columns that a table has from its beginning."""

LATER = {
    "channels": ("neighbours", "neighbour_similarities"),
    "references": ("x0", "y0", "x1", "y1"),
    "bands": (),
    "images": ("width", "height", "path", "sha256"),
    "classes": (),
    "samples": (),
}
"""Columns that are there when all stages are done."""

INDEX = "patches.faiss"

STAGES = ("prepass", "pictures", "patches")
"""What a finished atlas has been through, in this order; names and scores may follow."""

NAMES_FILE = "names.jsonl"
"""Every naming that was ever done; it only grows."""

SCORES_FILE = "scores.jsonl"
"""Every test of a name that was ever done; it only grows."""

FACTORS = "factors"
"""The directory of an atlas that has its factors, arranged like an atlas."""

MADE_FILE = "made.json"
"""The table of pictures that were made for channels."""

MADE_PICTURES = "made"
"""The directory of these pictures."""

ANSWERS = "answers.jsonl"
"""Answers of models to single questions: those of explanations, and those that came by file or
before a server stopped."""


@dataclass(frozen=True)
class Store:
    """An atlas directory, or the part of one that has its factors and is arranged like one."""

    root: Path
    home: Path | None = None
    """The atlas whose directory of pictures its tables name; its own unless given."""

    @property
    def parts(self) -> "tuple[Store, ...]":
        """The directories whose tables stand one after another here: only this one."""
        return (self,)

    @property
    def pictures_root(self) -> Path:
        """From where paths of pictures go."""
        return self.home or self.root

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is."""
        return self.root / "manifest.json"

    def manifest(self) -> dict[str, Any]:
        """Read the manifest; an absent one is empty (a build that has just begun)."""
        try:
            manifest: dict[str, Any] = bounds.read_json(self.manifest_path)
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            raise UserError(
                f"{self.manifest_path} cannot be read ({one_line(error)}): restore it, or build "
                "the atlas anew in another directory"
            ) from error
        version = manifest.get("schema_version") if isinstance(manifest, dict) else None
        if not isinstance(version, int) or isinstance(version, bool):
            raise UserError(f"{self.manifest_path} is not the manifest of an atlas")
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{self.root} was made by a newer concept-atlas (schema {version}, this one reads "
                f"up to {SCHEMA_VERSION}): upgrade with pip install -U concept-atlas"
            )
        if wrong := manifests.problem(manifest, STAGES):
            raise bounds.damaged(self.manifest_path, wrong)
        return manifest

    @property
    def finished(self) -> bool:
        """Whether all stages are done."""
        return manifests.finished(self.manifest(), STAGES)

    def inside(self, name: str) -> Path:
        """Return the path of a file that something in the atlas names.

        Raises
        ------
        UserError
            It leads out of the atlas, by itself or by a link.
        """
        return bounds.inside(self.pictures_root, name)

    def pictures(self) -> list[Path]:
        """Return the path of every stored picture, in the order of images.parquet.

        Raises
        ------
        UserError
            One of them is a link that leads out of the atlas.
        """
        root = self.pictures_root
        paths = [root / name for name in self.table("images", ["path"])["path"].to_pylist()]
        real = os.path.realpath(root)
        looked_at = {path.parent for path in paths} | {p for p in paths if p.is_symlink()}
        for path in looked_at:
            if not Path(os.path.realpath(path)).is_relative_to(real):
                self.inside(path.relative_to(root).as_posix())
        return paths

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, with this version of the schema."""
        manifest = {**manifest, "schema_version": SCHEMA_VERSION}
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
        files.write_text(self.manifest_path, text + "\n")

    def table_path(self, name: str) -> Path:
        """Return where the table `name` is."""
        return self.root / f"{name}.parquet"

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table of `COLUMNS`, or those of `columns` that are there."""
        path = self.table_path(name)
        try:
            with pq.ParquetFile(path) as file:  # pq.read_table would import pandas first
                known = self._known(name, file.schema_arrow, path)
                chosen = [column for column in known if columns is None or column in columns]
                bounds.check_table(file, path, chosen)
                table = file.read(chosen)
        except FileNotFoundError as error:
            raise UserError(
                f"{path} is missing: the atlas is not finished; run `atlas build` to go on"
            ) from error
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise UserError(
                f"{path} is damaged ({one_line(error)[:200]}): delete it and run `atlas build` "
                "again"
            ) from error
        if wrong := checks.problem(name, table, self.rows, self._compared):
            raise bounds.damaged(path, wrong)
        if name == "channels" and "layer" in chosen and self.finished:
            layers = list(dict.fromkeys(table["layer"].to_pylist()))
            if layers != self.manifest()["layers"]:
                raise bounds.damaged(path, "its layers are not those of manifest.json")
        return table

    def _known(self, name: str, schema: pa.Schema, path: Path) -> list[str]:
        """Return the columns of a table that are ours, after a look at their types."""
        types = COLUMNS[name]
        known = [column for column in schema.names if column in types]
        if len(set(known)) != len(known):
            raise bounds.damaged(path, "a column stands there twice")
        for column in known:
            kind = schema.field(column).type
            if kind != types[column]:
                raise bounds.damaged(path, f"{column} is of type {kind}, not {types[column]}")
        required = FIRST[name] + (LATER[name] if self.finished else ())
        missing = [column for column in required if column not in known]
        for pair in checks.TOGETHER.get(name, ()):
            missing += sorted({*pair} - {*known}) if {*pair} & {*known} else []
        if missing:
            raise bounds.damaged(path, f"it has no {missing[0]}")
        return known

    def rows(self, name: str) -> int:
        """Return the number of rows of a table, without reading it.

        Raises
        ------
        UserError
            It is missing or damaged.
        """
        path = self.table_path(name)
        try:
            return int(pq.read_metadata(path).num_rows)
        except (pa.ArrowException, OSError) as error:
            raise bounds.damaged(path, error) from error

    def _compared(self, name: str) -> pa.Table:
        """Return the columns that references are compared with."""
        columns = {"channels": ["layer", "channel"], "images": ["width", "height"]}
        return self.table(name, columns[name])

    def has_table(self, name: str) -> bool:
        """Say whether an atlas has a table; those of `OPTIONAL` the manifest speaks of."""
        return name not in OPTIONAL or name in self.manifest()

    def write_table(self, name: str, columns: dict[str, Any]) -> None:
        """Write a table whole; `columns` are some or all of `COLUMNS[name]`, in any order."""
        self._put_table(name, _table(name, columns))

    def _put_table(self, name: str, table: pa.Table) -> None:
        with files.atomic_path(self.table_path(name)) as path:
            pq.write_table(table, path, compression="zstd")

    def extend_table(self, name: str, columns: dict[str, Any]) -> None:
        """Add columns to a table, or replace them; the file stays where it has all of them."""
        table = self.table(name)
        kept = {key: table[key] for key in table.column_names if key in COLUMNS[name]}
        merged = {key: value.combine_chunks() for key, value in kept.items()}
        extended = _table(name, {**merged, **columns})
        if not table.equals(extended):
            self._put_table(name, extended)

    def write_array(self, name: str, array: npt.NDArray[Any]) -> None:
        """Write an array as .npy, whole or not at all."""
        with files.atomic_path(self.root / name) as path, path.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    def array(self, name: str) -> npt.NDArray[Any]:
        """Map an array of `ARRAYS`, or another that this package wrote, into memory.

        Raises
        ------
        UserError
            It cannot be read, or does not fit the tables.
        """
        path = self.root / name
        try:  # mapped, it takes no memory whatever its header says
            array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # damaged headers make NumPy raise all kinds
            raise UserError(
                f"{path} cannot be read ({one_line(error)[:200]}): delete it and run "
                "`atlas build` again"
            ) from error
        if name in ARRAYS:
            expected = (self.rows("references"), MASK_SIDE, MASK_SIDE)
            if array.dtype != np.uint8 or array.shape != expected:
                raise bounds.damaged(path, f"{array.dtype} {array.shape}, not uint8 {expected}")
        return array

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of every table, array and index that is there."""
        names = [*(f"{name}.parquet" for name in COLUMNS), *ARRAYS, INDEX]
        paths = [self.root / name for name in names]
        return {path.name: files.sha256(path) for path in paths if path.is_file()}

    def remove_partial(self) -> None:
        """Delete what an interrupted write left under a temporary name."""
        for path in self.root.rglob(f".*{files.TEMPORARY_SUFFIX}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def open_store(path: str | Path) -> Store:
    """Open an existing atlas directory.

    Raises
    ------
    UserError
        There is no atlas at `path`, it cannot be read by this version, or it is not as this
        package writes one.
    """
    root = Path(path)
    within = root.name == FACTORS and (root.parent / "manifest.json").is_file()
    store = Store(root, home=root.parent if within else None)
    if not store.root.is_dir():
        raise UserError(f"{path} is no directory: give the directory of a built atlas")
    bounds.no_links_out(store.root)
    if not store.manifest():
        raise UserError(f"{path} has no manifest.json: it is not an atlas; run `atlas build` first")
    return store


def _table(name: str, columns: dict[str, Any]) -> pa.Table:
    """Return columns of one kind of table as it has them, in its order and with its types."""
    types = COLUMNS[name]
    unknown = columns.keys() - types.keys()
    assert not unknown, f"{name}.parquet has no columns {unknown}"
    chosen = {key: kind for key, kind in types.items() if key in columns}
    return pa.table(
        {key: pa.array(columns[key], kind) for key, kind in chosen.items()},
        schema=pa.schema(list(chosen.items())),
    )
