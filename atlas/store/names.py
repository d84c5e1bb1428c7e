"""names.jsonl: every naming that was ever done, and which of them counts.

The file only grows. A record says who named what, from which references, with which question and
answer, so that each name can be checked and made again. `current` decides which record
counts; `write_columns` puts that into channels.parquet, where every reader finds it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from atlas.errors import UserError
from atlas.store import NAMES_FILE, Mode, Store, journal, nametests, states
from atlas.store.nametests import SideTest

Method = Literal["vlm", "labels", "clip", "person"]
Status = Literal["named", "no clear concept", "unnamed"]

LONGEST_ANSWER = 10_000
"""Characters of a raw answer that are kept."""


Row = Annotated[int, Field(ge=0, lt=1 << 40)]

Number = Annotated[float, Field(ge=-1e30, le=1e30)]


class _Details(TypedDict, total=False):
    """What readers rely on in the details of a naming."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    members: list[Row]
    contrast: list[Row]
    set: str | None
    formula: str | None


_DETAILS: TypeAdapter[_Details] = TypeAdapter(_Details)

Details = Annotated[Mapping[str, Any], AfterValidator(_DETAILS.validate_python)]


@dataclass(frozen=True)
class NameRecord:
    """One naming of a channel, or of one of its senses."""

    layer: str
    channel: Row
    method: Method
    by: str
    """Id of the model, name of the list of labels, or the person."""
    status: Status
    """`unnamed`: the answer could not be used."""
    name: str | None = None
    description: str | None = None
    confidence: Number | None = None
    """What the namer says of itself, 0 to 1."""
    sense: Annotated[int, Field(ge=0, lt=1 << 20)] | None = None
    """Number of the sense, by falling share; None: the channel as a whole."""
    share: Number | None = None
    """Share of the references that belong to the sense."""
    side: Mode | None = None
    """The mode of the references that were asked about because the name does not fit them; None:
    the channel as a whole, or a sense."""
    revision: str | None = None
    """Commit of the model."""
    prompt: Mapping[str, Any] | None = None
    """Name, version and SHA-256 of the question."""
    decoding: Mapping[str, Any] | None = None
    """How the answer was generated."""
    references: str | None = None
    """SHA-256 of what was shown."""
    images: Sequence[Row] = ()
    """Rows of references.parquet that were shown."""
    raw: str | None = None
    """The answer as it came."""
    details: Details = field(default_factory=dict)
    """What else the method has to say: a formula, a p value, why an answer is unusable."""
    record: int = -1
    """Number of the line, from 0; given when it is written."""
    time: Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d[T0-9:.+Z-]{0,30})?$")] = ""
    """ISO 8601, UTC; given when it is written."""
    atlas: str | None = None
    """Id of the atlas that it was made from; given when it is written."""
    network: str | None = None
    """Which network that was of; given when it is written."""

    @property
    def whole(self) -> bool:
        """Whether it names the channel as a whole, from the references asked about first."""
        return self.sense is None and self.side is None

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two namings the same: done once, it is not done again."""
        return (
            self.layer,
            self.channel,
            self.sense,
            self.side,
            self.method,
            self.by,
            self.revision,
            (self.prompt or {}).get("sha256"),
            json.dumps(self.decoding, sort_keys=True),
            self.references,
        )


def read(store: Store) -> list[NameRecord]:
    """Return all records in the order in which they were written.

    Raises
    ------
    UserError
        A line of the file is no record.
    """
    path = store.root / NAMES_FILE
    try:
        return _RECORDS.validate_python(journal.read(path))
    except ValidationError as error:
        line, *where = error.errors()[0]["loc"]
        reason = f"{'.'.join(map(str, where))}: {error.errors()[0]['msg']}"
        raise UserError(
            f"line {int(line) + 1} of {path} is no record of a name ({reason[:200]}): restore the "
            "file"
        ) from error


def valid(store: Store) -> list[NameRecord]:
    """Return those records that speak of the atlas as it is now, in their order.

    Rows of tables that others name are of another state: they are never read.
    """
    if len(store.parts) > 1:
        return [record for part in store.parts for record in valid(part)]
    state = states.now(store)
    return [
        record
        for record in read(store)
        if state.has(record.atlas, record.network, lasting=record.method == "person")
    ]


def append(store: Store, records: Iterable[NameRecord], first: int) -> None:
    """Add records, numbered from `first`."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    state = states.now(store)
    numbered = [
        replace(
            record,
            record=number,
            time=now,
            raw=record.raw and record.raw[:LONGEST_ANSWER],
            atlas=state.atlas,
            network=state.network,
        )
        for number, record in enumerate(records, first)
    ]
    journal.append(store.root / NAMES_FILE, map(asdict, numbered))


def append_new(store: Store, records: Iterable[NameRecord]) -> int:
    """Add those records that do not stand as the last of their kind; return how many they are."""
    done = last_keys(valid(store))
    new = [record for record in records if record.key not in done]
    append(store, new, len(read(store)))
    return len(new)


def last_keys(records: Iterable[NameRecord]) -> set[tuple[Any, ...]]:
    """Return the keys of the last records of each method for a channel, a sense or a side.

    These count. What was said before and is said again is written again, so that it counts anew.
    """
    last = {(r.layer, r.channel, r.sense, r.side, r.method): r.key for r in records}
    return set(last.values())


_RECORDS: TypeAdapter[list[NameRecord]] = TypeAdapter(list[NameRecord])


@dataclass(frozen=True)
class Named:
    """What counts for a channel."""

    best: NameRecord
    """The naming of the channel as a whole."""
    others: Sequence[NameRecord]
    """What other methods say last, one each."""
    senses: Sequence[NameRecord]
    """Names of the senses by the method that counts, by falling share."""
    sides: Sequence[NameRecord] = ()
    """What the model whose name counts last said of each side that its name does not fit."""
    test: SideTest | None = None
    """Whether the name that counts fits both sides, where that was asked."""


def current(records: Sequence[NameRecord], preferred: str) -> dict[tuple[str, int], Named]:
    """Return what counts for each channel that has a record.

    A person's word wins, then the method `preferred`, then the last of the others; of each
    method the last record counts. Senses are those named with the last naming by a model.
    """
    by_channel: dict[tuple[str, int], list[NameRecord]] = {}
    for record in records:
        by_channel.setdefault((record.layer, record.channel), []).append(record)
    result = {}
    for address, mine in by_channel.items():
        last = {record.method: record for record in mine if record.whole}
        if not last:
            continue
        order = sorted(
            last.values(), key=lambda r: (r.method == "person", r.method == preferred, r.record)
        )
        whole = last.get("vlm")
        senses: dict[int, NameRecord] = {}
        for record in mine:
            if record.sense is not None and whole is not None and _together(record, whole):
                senses[record.sense] = record
        several = distinct([senses[key] for key in sorted(senses)], order[-1].name)
        best = order[-1]
        sides = {
            record.side: record
            for record in mine
            if record.side and (record.by, record.revision) == (best.by, best.revision)
        }
        result[address] = Named(best, order[-2::-1], several, list(sides.values()))
    return result


def counting(store: Store, preferred: str) -> dict[tuple[str, int], Named]:
    """Return what counts for each channel of an atlas, a broader name instead of a narrow one.

    A channel fires on its references by relevance, too. So where a name that was made from those by
    activation does not fit these, and the name that these were given fits both and is made of some
    of its words (`pink` for `pink checked`), the pictures that it fires for most have more in
    common than those that it fires for, and that name counts.
    """
    tests = {whose(test): test for test in nametests.sides(store)}
    result = current(valid(store), preferred)
    for address, named in result.items():
        test = tests.get(whose(named.best))
        result[address] = replace(named, test=test)
        for side in named.sides if test is not None and test.one_sided else ():
            fits = tests.get(whose(side))
            if broader(side, named.best) and fits is not None and fits.both:
                senses = distinct(named.senses, side.name)
                result[address] = replace(named, best=side, senses=senses, test=fits)
    return result


def whose(one: NameRecord | SideTest) -> tuple[Any, ...]:
    """Return what a name and its test have in common: the channel, the name, and who gave it."""
    return (one.layer, one.channel, one.name, one.by, one.revision)


def broader(side: NameRecord, whole: NameRecord) -> bool:
    """Say whether the references by relevance were given a name of some of the channel's words."""
    if side.side != "relevance" or side.name is None or whole.name is None:
        return False
    return words(side.name) < words(whole.name)


def distinct(senses: Sequence[NameRecord], whole: str | None) -> list[NameRecord]:
    """Return the senses if they are different meanings: named, and named differently.

    Senses of which one has all the words of the other ("red", "red star") are one. Senses that all
    have the words of the channel's name, as "red star" and "red circle" have that of "red", are
    no meanings beside it: then there are none.
    """
    merged: list[NameRecord] = []
    for sense in senses:
        if sense.name is None:
            continue
        mine = words(sense.name)
        for place, other in enumerate(merged):
            theirs = words(other.name or "")
            if mine <= theirs or theirs <= mine:
                merged[place] = _joined(other, sense)
                break
        else:
            merged.append(sense)
    shared = words(whole) if whole else frozenset()
    beside = not shared or any(not shared <= words(sense.name or "") for sense in merged)
    if len(merged) < 2 or not beside:
        return []
    return sorted(merged, key=lambda sense: -(sense.share or 0))


def _joined(first: NameRecord, second: NameRecord) -> NameRecord:
    """Return a sense with the references of both, under the name of the first."""
    members = [*first.details.get("members", ()), *second.details.get("members", ())]
    return replace(
        first,
        share=(first.share or 0) + (second.share or 0),
        details={**first.details, "members": members},
    )


def _together(sense: NameRecord, whole: NameRecord) -> bool:
    """Say whether a sense was named with the channel as a whole: by the same model and set."""
    mine = (sense.by, sense.revision, sense.details.get("set"))
    return mine == (whole.by, whole.revision, whole.details.get("set"))


def write_columns(store: Store, preferred: str) -> dict[str, int]:
    """Write into channels.parquet and references.parquet what counts; return counts by status."""
    named = counting(store, preferred)
    table = store.table("channels").select(["layer", "channel"]).to_pydict()
    addresses = list(zip(table["layer"], table["channel"], strict=True))
    known = [named.get(address) for address in addresses]
    best = [entry.best if entry else None for entry in known]
    columns: dict[str, Any] = {
        "name": [record and record.name for record in best],
        "description": [record and record.description for record in best],
        "name_confidence": [record and record.confidence for record in best],
        "name_status": [record and record.status for record in best],
        "named_by": [record and record.method for record in best],
        "namer": [record and record.by for record in best],
        "other_names": [
            [{"method": other.method, "name": other.name} for other in entry.others]
            if entry
            else []
            for entry in known
        ],
        "name_agreement": [agreement(entry) if entry else None for entry in known],
        "senses": [
            [
                {
                    "name": sense.name,
                    "description": sense.description,
                    "confidence": sense.confidence,
                    "share": sense.share,
                }
                for sense in entry.senses
            ]
            if entry
            else []
            for entry in known
        ],
    }
    store.extend_table("channels", columns)
    _write_senses(store, [entry.senses if entry else () for entry in known])
    counts: dict[str, int] = {}
    for record in best:
        status = record.status if record else "not asked"
        counts[status] = counts.get(status, 0) + 1
    return counts


def _write_senses(store: Store, senses: Sequence[Sequence[NameRecord]]) -> None:
    rows = store.table("references").num_rows
    column = np.full(rows, -1)
    for mine in senses:
        for number, record in enumerate(mine):
            # A foreign file may name rows that there are not.
            members = [row for row in record.details.get("members", ()) if row < rows]
            column[members] = number
    values = [None if sense < 0 else int(sense) for sense in column.tolist()]
    store.extend_table("references", {"sense": values})


def agreement(named: Named) -> float | None:
    """Return how far the methods agree: mean overlap (Jaccard) of the words of their names.

    None where fewer than two methods have a name.
    """
    sets = [words(record.name) for record in (named.best, *named.others) if record.name is not None]
    pairs = [(a, b) for number, a in enumerate(sets) for b in sets[number + 1 :]]
    if not pairs:
        return None
    return float(np.mean([len(a & b) / max(len(a | b), 1) for a, b in pairs]))


def words(name: str) -> frozenset[str]:
    """Return the words of a name without plural endings, for comparison."""
    cleaned = "".join(letter if letter.isalnum() else " " for letter in name.casefold())
    return frozenset(word.removesuffix("s") for word in cleaned.split())
