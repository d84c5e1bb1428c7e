"""Every field of every file of an atlas turned: no command ends otherwise than in one line."""

import copy
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HTML = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"

VALUES: tuple[Any, ...] = (
    "../../outside/secret.txt", HTML, 10**30, 10**9, -1, math.nan, math.inf, 1e308, None, True, [],
    {}, [[]], {"a": 1}, "", "x\0y\x1b[31m\u202e", ["../x", -1, None],
)  # fmt: skip

EVERY = int(os.environ.get("ATLAS_HOSTILE_EVERY", "397"))
"""Of all turned fields, every so many-th is tried: with 1 it takes an hour."""

QUICK = (
    ["show", "ATLAS", "planted:3"], ["show", "ATLAS", "planted:3", "--json"],
    ["show", "ATLAS", "planted:3", "--sheet", "OUT/sheet.png"],
    ["lookup", "ATLAS", "thing"], ["cite", "ATLAS"], ["cite", "ATLAS", "planted:3"],
    ["cite", "ATLAS", "--class", "0", "--format", "csl-json"],
    ["cite", "ATLAS", "--explanation", "ID", "--format", "text"], ["verify", "ATLAS"],
    ["export", "ATLAS", "OUT/hf"], ["export", "ATLAS", "OUT/csv", "--format", "csv"],
    ["export", "ATLAS", "OUT/crp", "--format", "crp"],
    ["diff", "ATLAS", "HONEST", "--json"], ["rename", "ATLAS", "planted:3", "red", "--by", "Ada"],
)  # fmt: skip


@pytest.fixture
def attempt(place, honest, atlas_command, tmp_path):
    """Run the quick commands and the pages of a turned atlas."""
    id_ = next((honest / "explanations").iterdir()).name
    out = tmp_path / "made"

    def run(*, pages: bool = True) -> set[int]:
        statuses = set()
        for arguments in QUICK:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            filled = [
                part.replace("ATLAS", str(place.atlas)).replace("HONEST", str(honest))
                .replace("OUT", str(out)).replace("ID", id_)
                for part in arguments
            ]  # fmt: skip
            ended = atlas_command(*filled)
            assert ended.status in (0, 1, 2)
            lines = [line for line in ended.err.splitlines() if line.startswith("atlas: ")]
            assert (ended.status == 2) == bool(lines)
            assert "\x1b" not in ended.err + ended.out
            statuses.add(ended.status)
        if pages:
            statuses.add(rendered(place.atlas))
        place.untouched()
        return statuses

    return run


def rendered(root: Path) -> int:
    """Write the pages, which takes most of a site's faults; MkDocs would take seconds."""
    from atlas.errors import UserError
    from atlas.recipe import recorded
    from atlas.site import render
    from atlas.store import open_store

    try:
        store = open_store(root)
        render(store, recorded(store.manifest()).site)
    except UserError as error:
        assert "\n" not in str(error)
        return 2
    for page in root.joinpath("pages").rglob("*.md"):
        assert "<script>alert" not in page.read_text("utf-8")
    return 0


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield where everything in a JSON value is; of lists the first and the last."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for place in {0, len(value) - 1}:
            yield from leaves(value[place], (*path, place))


def turned(value: Any, every: int) -> Iterator[tuple[str, Any]]:
    """Yield JSON values in which one field is turned."""
    number = 0
    for path in leaves(value):
        for bad in (*VALUES, "gone"):
            number += 1
            if number % every:
                continue
            new = copy.deepcopy(value)
            at = new
            for key in path[:-1]:
                at = at[key]
            if bad == "gone":
                del at[path[-1]]
            else:
                at[path[-1]] = bad
            yield f"{path} = {bad!r}", new


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_manifest(place, attempt, part):
    path = place.atlas / "manifest.json"
    whole = path.read_bytes()
    for number, (what, value) in enumerate(turned(json.loads(whole), EVERY)):
        if number % PARTS != part:
            continue
        path.write_text(json.dumps(value), "utf-8")
        try:
            attempt(pages=not number % 3)
        except BaseException as error:
            error.add_note(what)
            raise


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", ["evidence", "claims", "narrative"])
def test_explanations(place, attempt, atlas_command, name, part, tmp_path):
    (path,) = place.atlas.glob(f"explanations/*/{name}.json")
    whole = path.read_bytes()
    slug = path.parent.name
    out = tmp_path / "figure.png"
    for number, (what, value) in enumerate(turned(json.loads(whole), EVERY)):
        if number % PARTS != part:
            continue
        path.write_text(json.dumps(value), "utf-8")
        try:
            rendered(place.atlas)
            for arguments in (
                ["cite", place.atlas, "--explanation", slug],
                ["figure", place.atlas, "--explanation", slug, "--out", out],
            )[: 1 + (number % 10 == 0)]:
                assert atlas_command(*arguments).status in (0, 2)
        except BaseException as error:
            error.add_note(what)
            raise


@pytest.mark.parametrize("name", ["names.jsonl", "scores.jsonl"])
def test_records(place, attempt, name):
    path = place.atlas / name
    lines = path.read_text().splitlines()
    whole = json.loads(lines[-1])
    for what, value in turned(whole, EVERY):
        path.write_text("\n".join([*lines, json.dumps(value), ""]), "utf-8")
        try:
            attempt()
        except BaseException as error:
            error.add_note(what)
            raise


def columns(kind: pa.DataType) -> Iterator[Any]:
    """Yield what could stand in a column of a type, as nobody but an attacker writes it."""
    if pa.types.is_string(kind):
        yield from ("../../outside/secret.txt", HTML, "", None, "x\0\x1b[31m\u202e", "=cmd()")
    elif pa.types.is_integer(kind):
        yield from (-1, 2 ** (kind.bit_width - 1) - 1, -(2 ** (kind.bit_width - 1)), None, 7)
    elif pa.types.is_floating(kind):
        yield from (math.nan, math.inf, -math.inf, 3e38, None, -1.0)
    elif pa.types.is_list(kind):
        yield from ([], None)
        inner = [value for value in columns(kind.value_type) if value is not None]
        yield from ([value] * 3 for value in inner)
        yield [None]
    elif pa.types.is_struct(kind):
        names = [kind.field(place).name for place in range(kind.num_fields)]
        every = [list(columns(kind.field(place).type)) for place in range(kind.num_fields)]
        for place, values in enumerate(every):
            for value in values:
                yield {name: value if n == place else every[n][-1] for n, name in enumerate(names)}


def turned_tables(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    for place, field in enumerate(table.schema):
        for bad in columns(field.type):
            for rows in ("all", "last"):
                old = table.column(place).to_pylist()
                new = [bad] * len(old) if rows == "all" else [*old[:-1], bad]
                try:
                    column = pa.array(new, field.type)
                except (pa.ArrowException, OverflowError):
                    continue
                yield f"{field.name}, {rows}: {bad!r}", table.set_column(place, field, column)
        yield f"no {field.name}", table.remove_column(place)
        other = (
            pa.array(["<b>"] * len(table))
            if field.type != pa.string()
            else pa.array(range(len(table)))
        )
        yield f"{field.name} of another type", table.set_column(place, field.name, other)
        yield f"{field.name} twice", table.append_column(field, table.column(place))
    yield "no rows", table.slice(0, 0)
    yield "half of it", table.slice(0, len(table) // 2)
    yield "twice", pa.concat_tables([table, table])
    yield "backwards", table.take(list(range(len(table)))[::-1])
    yield "more columns", table.append_column("evil", pa.array([HTML] * len(table)))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", ["channels", "references", "images", "classes"])
def test_tables(place, attempt, name, part, honest):
    path = place.atlas / f"{name}.parquet"
    table = pq.read_table(honest / f"{name}.parquet")
    for number, (what, value) in enumerate(turned_tables(table)):
        if number % EVERY or (number // EVERY) % PARTS != part:
            continue
        for kept in ("channels", "references"):
            shutil.copyfile(honest / f"{kept}.parquet", place.atlas / f"{kept}.parquet")
        shutil.copyfile(honest / "names.jsonl", place.atlas / "names.jsonl")
        pq.write_table(value, path)
        try:
            attempt()
        except BaseException as error:
            error.add_note(what)
            raise


def test_neighbours_in_a_circle(place, attempt, honest):
    """Each is the neighbour of the next, and of itself."""
    path = place.atlas / "channels.parquet"
    table = pq.read_table(path)
    for name in ("neighbours", "together", "lower", "upper"):
        values = {"neighbours": "neighbour_similarities"}.get(name, f"{name}_correlations")
        rows = [[row, (row + 1) % len(table)] for row in range(len(table))]
        for column, new in ((name, rows), (values, [[1.0, 0.9]] * len(table))):
            field = table.schema.field(column)
            place_ = table.schema.get_field_index(column)
            table = table.set_column(place_, field, pa.array(new, field.type))
    pq.write_table(table, path)
    assert attempt() <= {0, 1}


def test_text_that_is_no_text(place, attempt):
    path = place.atlas / "channels.parquet"
    table = pq.read_table(path)
    bad = pa.array([b"\xff\xfe\xed\xa0\x80"] * len(table), pa.binary()).view(pa.string())
    for name in ("layer", "name", "description"):
        place_ = table.schema.get_field_index(name)
        pq.write_table(table.set_column(place_, name, bad), path)
        assert 2 in attempt()


@pytest.mark.parametrize("name", ["manifest.json", "names.jsonl"])
@pytest.mark.parametrize(
    "text", [b"", b"[", b"[" * 100_000, b"\xff\xfe", b"null", b"1" * 10_000, b'{"a":' * 50_000]
)
def test_json_that_is_none(place, attempt, name, text):
    (place.atlas / name).write_bytes(text + b"\n")
    assert 2 in attempt() or (name == "names.jsonl" and not text)


def test_masks(place, attempt):
    path = place.atlas / "masks.npy"
    masks = np.load(path)
    for bad in (
        masks[:-1], masks[:, :8], masks.astype(np.float32), masks.astype("U1"), masks[0],
        np.zeros(0), np.array(5), np.zeros((len(masks), 16, 16), [("a", "u1")]),
    ):  # fmt: skip
        np.save(path, bad)
        assert 2 in attempt() or 1 in attempt()
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    assert 2 in attempt()
    for shape in ("(-1, 16, 16)", f"({10**15}, 16, 16)", "(" * 3000, "None", "(1e9,)"):
        head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
        head = head.ljust(117) + "\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
        assert 2 in attempt()


def test_pictures_of_any_size(place, attempt, atlas_command):
    from PIL import Image

    paths = sorted(place.atlas.glob("images/*/*.webp"))
    Image.new("L", (16383, 16383)).save(paths[0], lossless=True, quality=0, method=0)
    paths[1].write_bytes(b"RIFF\x04\x00\x00\x00WEBP")
    Image.new("RGB", (8, 8)).save(paths[2], "PNG")
    for path in paths[3:]:
        path.write_bytes(paths[0].read_bytes())
    assert 2 in attempt()


def test_formulas_in_the_tables_of_the_site(place, atlas_command):
    import csv

    path = place.atlas / "channels.parquet"
    table = pq.read_table(path)
    for column in ("name", "description", "namer"):
        bad = pa.array(['=HYPERLINK("http://evil")', "@sum", "\t=1", "+1", "-1"] * len(table))
        at = table.schema.get_field_index(column)
        table = table.set_column(at, column, bad[: len(table)])
    pq.write_table(table, path)
    assert rendered(place.atlas) == 0
    with (place.atlas / "pages/api/v1/tables/channels.csv").open(newline="") as file:
        for row in csv.reader(file):
            for cell in row:
                number = cell.lstrip("-").replace(".", "").replace("e", "").replace("-", "")
                assert not cell.startswith(("=", "@", "+", "\t")), cell
                assert not cell.startswith("-") or number.isdecimal()
