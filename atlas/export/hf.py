"""A data set that `datasets.load_dataset` opens: Parquet tables, a card, Croissant metadata."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atlas.api.contents import Contents
from atlas.errors import UserError
from atlas.export import card, croissant
from atlas.publishing import cite
from atlas.store import files
from atlas.store.pictures import load_picture

TABLES = ("channels", "references", "bands", "images", "classes", "samples")
"""Each is a configuration of the data set; the first is what opens unless another is named."""

THUMBNAIL = 64
"""Longer side, in pixels, of the pictures where `site.images` is `thumbs`."""

PICTURES = 200
"""Pictures written at once."""


def write(contents: Contents, out: Path) -> None:
    """Write the data set.

    Parameters
    ----------
    contents : Contents
        A finished atlas; its recipe's `[site] images` says what is passed on of the pictures.
    out : Path
        Directory to write into: `data/*.parquet`, README.md, croissant.json, CITATION.bib,
        manifest.json, and names.jsonl where there are names.

    Raises
    ------
    UserError
        A stored picture is missing or damaged.
    """
    pictures = contents.recipe.site.images
    schemas = {}
    names = [name for name in TABLES if contents.store.has_table(name)]
    for name in names:
        table = _table(contents, name)
        path = out / "data" / f"{name}.parquet"
        schemas[name] = table.schema
        if name == "images" and pictures != "none":
            schemas[name] = _write_pictures(contents, table, path, small=pictures == "thumbs")
        else:
            with files.atomic_path(path) as temporary:
                pq.write_table(table, temporary, compression="zstd")
    store = contents.store
    for extra in ("manifest.json", "names.jsonl"):
        if (store.root / extra).is_file():
            files.write_bytes(out / extra, (store.root / extra).read_bytes())
    citation = cite.cite_atlas(contents)
    files.write_text(out / "CITATION.bib", cite.bibtex(citation))
    rows = {name: _rows(out / "data" / f"{name}.parquet") for name in names}
    files.write_text(out / "README.md", card.text(contents, citation, schemas, rows))
    described = croissant.metadata(contents, citation, schemas, out)
    files.write_text(out / "croissant.json", json.dumps(described, indent=2) + "\n")


def _table(contents: Contents, name: str) -> pa.Table:
    table: pa.Table = getattr(contents, name)
    if name == "channels":
        return table.add_column(0, "address", pa.array(list(contents.rows)))
    return table


def _write_pictures(contents: Contents, table: pa.Table, path: Path, *, small: bool) -> pa.Schema:
    """Write images.parquet with the pictures inside, as `datasets` does; return its schema."""
    field = pa.field("picture", pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    schema = table.schema.append(field)
    # By this `datasets` knows that the bytes are pictures, and opens them with Pillow.
    features = {column.name: _feature(column) for column in schema}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with (
        files.atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for start in range(0, table.num_rows, PICTURES):
            part = table.slice(start, PICTURES)
            values = list(_pictures(contents, part["path"].to_pylist(), small=small))
            column = pa.array(values, field.type)
            writer.write_table(part.append_column(field, column).cast(schema))
    return schema


def _pictures(contents: Contents, paths: list[str], *, small: bool) -> Iterator[dict[str, Any]]:
    for path in paths:
        file = contents.store.inside(path)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UserError(
                f"the stored picture {file} cannot be read: run `atlas build` again, or leave "
                "pictures out with --set site.images=none"
            ) from error
        if small:
            picture = load_picture(BytesIO(content), file)
            picture.thumbnail((THUMBNAIL, THUMBNAIL))
            buffer = BytesIO()
            picture.save(buffer, "WEBP", quality=80)
            content = buffer.getvalue()
        yield {"bytes": content, "path": Path(path).name}


def _feature(field: pa.Field) -> dict[str, str]:
    """Return what `datasets` calls the type of a column of images."""
    if field.name == "picture":
        return {"_type": "Image"}
    return {"dtype": str(field.type), "_type": "Value"}


def _rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)
