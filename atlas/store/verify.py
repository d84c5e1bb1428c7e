"""Check an atlas: every hash, row count, range and link."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atlas.errors import UserError
from atlas.plain import plain
from atlas.store import (
    ARRAYS,
    COLUMNS,
    INDEX,
    MEASURED,
    MODES,
    NAMES_FILE,
    STAGES,
    Store,
    audit,
    bases,
    bounds,
    files,
    indexfile,
    made,
    names,
)

PAGE_BYTES = 64 << 20
"""Most bytes of a page that is looked at."""


@dataclass(frozen=True)
class Result:
    """The outcome of one check."""

    passed: bool
    text: str


def check(store: Store) -> Iterator[Result]:
    """Run every check; a failed one does not stop the others.

    Parameters
    ----------
    store : Store
        The atlas.

    Yields
    ------
    Result
        In the order of the stages; then of the factors, if there are any.
    """
    yield from _checks(store)
    if not store.home and (part := bases.factors(store)):
        for result in _checks(part):
            yield Result(result.passed, f"factors: {result.text}")


def _checks(store: Store) -> Iterator[Result]:
    manifest = store.manifest()
    undone = [stage for stage in STAGES if stage not in manifest.get("stages", {})]
    yield result("every stage is done", [f"{stage} is not" for stage in undone])
    yield result("tables, arrays and index are what the manifest says", _hashes(store, manifest))
    checks: list[tuple[str, Callable[[Store, dict[str, Any]], list[str]]]] = [
        ("tables have their columns", _columns),
        ("channels are those of the layers", _channels),
        ("references are ranked, at most k for a channel and mode", _references),
        ("patch boxes lie inside their pictures", _boxes),
        ("bands have a few pictures each, which stand for all", _bands),
        ("classes have one share for each channel", _classes),
        ("strengths of inputs and outputs are shares", _strengths),
        ("masks and index have one row for each reference", _rows),
        ("every name has its record", _names),
        ("every stored picture is there and unchanged", _pictures),
        ("every made picture is there and unchanged", _made),
        *([] if store.home else [("figures about maps are whole and of this atlas", _audit)]),
        ("directions are what the manifest says", _directions)
        if store.home
        else ("every link of the site leads somewhere", _links),
    ]
    for text, run in checks:
        try:
            yield result(text, run(store, manifest))
        except (UserError, pa.ArrowException, LookupError, RuntimeError, ValueError) as error:
            yield result(text, [str(error) or type(error).__name__])


def result(text: str, problems: list[str]) -> Result:
    """Return the outcome of one check; what a foreign atlas says stays on one line and short."""
    if not problems:
        return Result(True, text)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Result(False, f"{text}: {plain(problems[0])[:300]}{more}")


def _hashes(store: Store, manifest: dict[str, Any]) -> list[str]:
    expected = manifest.get("files", {})
    tables = (f"{name}.parquet" for name in COLUMNS if store.has_table(name))
    names = [*tables, *ARRAYS, INDEX]
    problems = [f"{name} is not in the manifest" for name in names if name not in expected]
    unknown = expected.keys() - {*names}
    problems += [f"{name} in the manifest is no file of an atlas" for name in unknown]
    for name in names:
        path, digest = store.root / name, expected.get(name)
        if digest is None:
            continue
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif files.sha256(path) != digest:
            problems.append(f"{name} has changed")
    return problems


def _columns(store: Store, _: dict[str, Any]) -> list[str]:
    return [
        f"{name}.parquet lacks {column}"
        for name, columns in MEASURED.items()
        if store.has_table(name)
        for column in columns
        if (column != "fired" or store.home)  # of factors alone
        and column not in store.table(name).column_names
    ]


def _names(store: Store, _: dict[str, Any]) -> list[str]:
    table = store.table("channels")
    if "name" not in table.column_names:
        return []
    rows = table.select(["layer", "channel", "name", "named_by"]).to_pylist()
    records, valid = names.read(store), names.valid(store)
    said = {(r.layer, r.channel, r.name, r.method) for r in valid if r.sense is None}
    problems = [
        f"{row['layer']}:{row['channel']} is called {row['name']!r}, "
        f"which {NAMES_FILE} does not say"
        for row in rows
        if row["name"] is not None
        and (row["layer"], row["channel"], row["name"], row["named_by"]) not in said
    ]
    known = {(row["layer"], row["channel"]) for row in rows}
    # What a person said may be of a layer that is not measured now.
    models = [record for record in valid if record.method != "person"]
    if any((record.layer, record.channel) not in known for record in models):
        problems.append(f"{NAMES_FILE} speaks of channels that the atlas does not have")
    if [record.record for record in records] != list(range(len(records))):
        problems.append(f"the records of {NAMES_FILE} are not numbered from 0")
    return problems


def _channels(store: Store, manifest: dict[str, Any]) -> list[str]:
    table = store.table("channels")
    layers = list(dict.fromkeys(table["layer"].to_pylist()))
    problems = []
    if layers != manifest["layers"]:
        problems.append("the layers differ from the manifest's")
    for layer in layers:
        numbers = table.filter(pc.equal(table["layer"], layer))["channel"].to_numpy()
        if not np.array_equal(numbers, np.arange(len(numbers))):
            problems.append(f"channels of {layer} are not numbered from 0")
    return problems


def _references(store: Store, manifest: dict[str, Any]) -> list[str]:
    table = store.table("references")
    problems = []
    if not set(table["mode"].unique().to_pylist()) <= set(MODES):
        problems.append("a mode is neither activation nor relevance")
    rank, score = table["rank"].to_numpy(), table["score"].to_numpy()
    if len(rank) and rank.max() >= manifest["k"]:
        problems.append(f"a rank is above k = {manifest['k']}")
    follows = rank[1:] > 0
    if not (rank[1:][follows] == rank[:-1][follows] + 1).all() or (len(rank) and rank[0] != 0):
        problems.append("ranks have gaps")
    if not (score[1:][follows] <= score[:-1][follows]).all():
        problems.append("scores rise with the rank")
    images = store.table("images").num_rows
    if len(rank) and not 0 <= table["image"].to_numpy().min() <= table["image"].to_numpy().max():
        problems.append("a picture has a negative number")
    if len(rank) and table["image"].to_numpy().max() >= images:
        problems.append("a picture is not in images.parquet")
    return problems


def _boxes(store: Store, _: dict[str, Any]) -> list[str]:
    table, images = store.table("references"), store.table("images")
    x0, y0, x1, y1 = (table[name].to_numpy() for name in ("x0", "y0", "x1", "y1"))
    of = table["image"].to_numpy()
    width, height = (images[name].to_numpy()[of] for name in ("width", "height"))
    outside = (x0 < 0) | (y0 < 0) | (x0 >= x1) | (y0 >= y1) | (x1 > width) | (y1 > height)
    return [f"row {row} of references.parquet" for row in np.flatnonzero(outside)]


def _bands(store: Store, manifest: dict[str, Any]) -> list[str]:
    if not store.has_table("bands"):
        return []
    table = store.table("bands", ["layer", "channel", "band", "weight"])
    groups = table.group_by(["layer", "channel", "band"], use_threads=False)
    most = groups.aggregate([("weight", "count")])["weight_count"]
    problems = []
    if len(most) and pc.max(most).as_py() > manifest["bands"]:
        problems.append(f"a band has more than {manifest['bands']} pictures")
    for sampled in (False, True):  # the bands are parts of all pictures, `random` is of all
        chosen = table.filter(pc.equal(pc.equal(table["band"], "random"), sampled))
        groups = chosen.group_by(["layer", "channel"], use_threads=False)
        sums = groups.aggregate([("weight", "sum")])["weight_sum"].to_numpy()
        if not np.allclose(sums, manifest["images"]["seen"], rtol=1e-9, atol=0):
            problems.append("the weights of a channel do not add up to the pictures measured")
    return problems


def _classes(store: Store, _: dict[str, Any]) -> list[str]:
    table, channels = store.table("classes"), store.table("channels").num_rows
    lengths = pc.list_value_length(table["shares"]).to_numpy()
    problems = [f"class {row}" for row in np.flatnonzero(lengths != channels)]
    total = int(table["count"].to_numpy().sum())
    seen = store.manifest()["images"]["seen"]
    return problems + ([f"{total} pictures in classes, {seen} seen"] if total != seen else [])


def _strengths(store: Store, _: dict[str, Any]) -> list[str]:
    table = store.table("channels")
    problems = []
    for name in ("made_of", "held_back_by", "goes_into", "goes_into_class"):
        column = f"{name}_shares"
        if column not in table.column_names:
            continue
        values = table[column].combine_chunks().flatten().to_numpy()
        if len(values) and not 0 <= values.min() <= values.max() <= 1 + 1e-6:
            problems.append(f"{column} has no shares")
        if any(sum(shares or ()) > 1 + 1e-4 for shares in table[column].to_pylist()
               if name in ("made_of", "held_back_by")):  # fmt: skip
            problems.append(f"{column} adds up to more than 1")
    return problems


def _rows(store: Store, manifest: dict[str, Any]) -> list[str]:
    count = store.table("references").num_rows
    masks = len(store.array("masks.npy"))
    index = indexfile.load(store.root / INDEX)
    problems = [f"{masks} masks for {count} references"] if masks != count else []
    if index.ntotal != count:
        problems.append(f"{index.ntotal} vectors for {count} references")
    if index.d != manifest["index"]["dimension"]:
        problems.append(f"vectors have {index.d} dimensions")
    return problems


def _pictures(store: Store, _: dict[str, Any]) -> list[str]:
    table = store.table("images")
    problems = []
    listed = zip(table["path"].to_pylist(), table["sha256"].to_pylist(), strict=True)
    for name, digest in listed:
        path = store.inside(name)
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif files.sha256(path) != digest:
            problems.append(f"{name} has changed")
    return problems


def _made(store: Store, _: dict[str, Any]) -> list[str]:
    return made.problems(store)


def _directions(store: Store, manifest: dict[str, Any]) -> list[str]:
    expected, channels = manifest.get("directions", {}), store.table("channels", ["layer"])
    counts = Counter(channels["layer"].to_pylist())
    problems = [f"{name} is not in the manifest" for name in counts if name not in expected]
    for name in manifest["layers"]:
        path = bases.path(store, name)
        if path.is_file() and expected.get(name) != files.sha256(path):
            problems.append(f"{name} has changed")
        elif any(counts[name] != len(basis.directions) for basis in bases.read(store, [name])):
            problems.append(f"{name} has other factors in channels.parquet")
    return problems


def _audit(store: Store, manifest: dict[str, Any]) -> list[str]:
    known = audit.read(store.root)
    if known is None:
        return []
    problems = []
    if known.atlas != manifest["id"]:
        problems.append(f"{audit.FILE} is of {known.atlas}: run `atlas audit` again")
    elif any(row >= store.rows("images") for row in known.pictures):
        problems.append(f"{audit.FILE} names a picture that is not in images.parquet")
    return problems


class _Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def _links(store: Store, _: dict[str, Any]) -> list[str]:
    site = store.root / "site"
    pages = sorted(site.rglob("*.html"))
    if not pages:
        return [f"there is no site: run `atlas site {store.root}`"]
    known: dict[Path, bool] = {}
    problems = []
    for page in pages:
        parser = _Links()
        parser.feed(bounds.read_bytes(page, PAGE_BYTES).decode("utf-8"))
        for link in parser.found:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            base = site if parts.path.startswith("/") else page.parent
            target = Path(os.path.normpath(base / unquote(parts.path).lstrip("/")))
            if not target.is_relative_to(site):
                problems.append(f"{page.relative_to(site)} links to {link}, outside the site")
            elif not known.setdefault(target, target.exists()):
                problems.append(f"{page.relative_to(site)} links to {link}")
    return problems
