"""The state of each channel's name, and its two sides: decided here, once, and read by all others.

What a channel is *used for* (by relevance) and what it *fires for* (by activation) are two
questions. A name comes from the references of one side; where those of the other do not fit it,
they were asked about too, and the channel has both names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from atlas.store import names
from atlas.store.checks import NameState
from atlas.store.directory import TESTED, Store
from atlas.store.names import Named, NameRecord


def tested_names(table: Mapping[str, Sequence[Any]]) -> list[str | None]:
    """Return which name of each channel is tested on its range, by the columns of its table.

    That is a test on activations: of a one-sided channel it is what the channel fires for.
    """
    none = [None] * len(table["name"])
    columns = (table["name"], table.get("fires_for", none), table.get("name_state", none))
    return [
        fires if state == "one-sided" and fires else name
        for name, fires, state in zip(*columns, strict=True)
    ]


def state_of(row: Mapping[str, Any]) -> NameState | None:
    """Return the state of a name by a row of channels.parquet; None where nobody was asked.

    Atlases that were named before there were states have names that nobody tested as now.
    """
    state: NameState | None = row.get("name_state")
    if state is None and row.get("name"):
        return "by a person" if row.get("named_by") == "person" else "untested"
    return "none found" if state is None and row.get("name_status") else state


def above_chance(score: Mapping[str, Any]) -> bool | None:
    """Say whether a name scores above names that say nothing of the channel; None without a score.

    The interval of its average precision has to lie above the base rate, which "anything" gets, and
    above the mean of other channels' names, the atlas's most frequent one among them; and the
    estimate above that of the most frequent one alone, which is as uncertain as any.

    Parameters
    ----------
    score : mapping
        The columns `score_...` of a row of channels.parquet.
    """
    columns = ("ap", "ap_low", "base_rate", "borrowed_ap", "frequent_ap")
    values = [score.get(f"score_{name}") for name in columns]
    known = [float(value) for value in values if value is not None]
    if len(known) < len(columns):
        return None
    ap, low, *chance, frequent = known
    return low > max(chance) and ap > frequent


def write_columns(store: Store, preferred: str) -> None:
    """Write states and sides into channels.parquet, from the records of names and of their tests.

    Scores of names that no longer count are taken out.

    Parameters
    ----------
    store : Store
        With the columns that `names.write_columns` has written.
    preferred : str
        The method whose names count.
    """
    named = names.counting(store, preferred)
    table = store.table("channels").to_pydict()
    rows: list[dict[str, Any]] = []
    for address in zip(table["layer"], table["channel"], strict=True):
        known = named.get(address)
        test = known.test if known else None
        rows.append({
            "fits_relevance": test and test.fits.get("relevance"),
            "fits_activation": test and test.fits.get("activation"),
            **_sides(known),
        })  # fmt: skip
    columns = {name: [row.get(name) for row in rows] for name in _COLUMNS}
    scores = {name: list(table[name]) for name in TESTED if name in table}
    counting = tested_names({**table, **columns})
    for row, name in enumerate(counting):
        score = {column: scores[column][row] for column in scores}
        if score.get("score_name") != name:
            for values in scores.values():
                values[row] = None
        elif columns["name_state"][row] == "untested":
            passed = above_chance(score)
            if passed is not None:
                columns["name_state"][row] = _state("tested" if passed else "not told from chance")
    store.extend_table("channels", {**columns, **scores})


_COLUMNS = (
    "name_state",
    "name_tried",
    "used_for",
    "fires_for",
    "fits_relevance",
    "fits_activation",
)


def _sides(known: Named | None) -> dict[str, Any]:
    """Return the state of a name as far as it does not depend on scores, and both sides of it."""
    if known is None:
        return {}
    test = known.test
    if known.best.name is None:
        return {"name_state": _state("none found"), "name_tried": _tried(known.best)}
    if known.best.method == "person":
        return {"name_state": _state("by a person")}
    if test is not None and test.one_sided:
        second = next((one for one in known.sides if one.side == test.other), None)
        said = second.name if second is not None else None
        # Asked about the other side, the model may find the same name: then it has not two.
        if said is None or names.words(said) != names.words(known.best.name):
            both = {test.side: known.best.name, test.other: said}
            return {
                "name_state": _state("one-sided"),
                "used_for": both["relevance"],
                "fires_for": both["activation"],
            }
    return {"name_state": _state("untested")}


def _state(state: NameState) -> NameState:
    return state


def _tried(record: NameRecord) -> str | None:
    """Return what was tried where no name was found."""
    if record.method in ("labels", "clip"):
        return record.raw
    asked = f"{record.by} was shown {len(record.images)} references"
    if record.status == "unnamed":
        problem = record.details.get("problem")
        return f"{asked}; its answer could not be used{f': {problem}' if problem else ''}"
    return f"{asked} and found nothing in common"
