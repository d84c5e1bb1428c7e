"""Both sides of a channel: whether its name fits the references that it was not made from.

Names of channels come from references by relevance, unless the recipe says otherwise: what the
network uses a channel for. What sets a channel off can be something else. So a name is tested on as
many of the best references of either mode as are shown when it is asked for.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from atlas import prompts
from atlas.errors import UserError, one_line
from atlas.naming.selection import ReferenceSelector, fingerprint
from atlas.patches.views import References, view
from atlas.recipe import Naming
from atlas.store import MODES, Mode, Store, names, nametests
from atlas.store.names import NameRecord
from atlas.vlm import Request, SampledChance, Vlm

_log = logging.getLogger(__name__)

_AT_ONCE = 16  # channels that are asked about between two writings

Address = tuple[str, int]


@dataclass(frozen=True)
class _Name:
    """One name to be tested."""

    record: NameRecord
    side: Mode  # from whose references it was made
    rows: dict[Mode, list[int]]  # of references.parquet, that are shown
    prompt: prompts.Prompt
    key: str


def contradicted(
    store: Store, vlm: Vlm, selector: ReferenceSelector, settings: Naming, fits: str
) -> list[tuple[Address, Mode]]:
    """Test every name of this model on both sides, as far as that is not done.

    Parameters
    ----------
    store : Store
        With names.
    vlm : Vlm
        Who gave the names and is asked.
    selector : ReferenceSelector
        Knows the references.
    settings : Naming
        How patches are shown, and how many.
    fits : str
        The prompt that asks whether a patch fits a name.

    Returns
    -------
    list
        Channels whose name does not fit the references of the mode that it was not made from, and
        that mode.
    """
    cases = list(_cases(vlm, selector, settings, fits, _whole(store, vlm)))
    _test(store, vlm, selector, settings, cases)
    found = {test.key: test for test in nametests.sides(store)}
    return [
        ((case.record.layer, case.record.channel), found[case.key].other)
        for case in cases
        if case.key in found and found[case.key].one_sided
    ]


def test_broader(
    store: Store, vlm: Vlm, selector: ReferenceSelector, settings: Naming, fits: str
) -> None:
    """Test on both sides the names of other sides that say less than the channel's own name.

    Parameters
    ----------
    store, vlm, selector, settings, fits
        What `contradicted` takes, after the other sides were asked about.
    """
    whole = _whole(store, vlm)
    broader = [
        record
        for record in names.valid(store)
        if record.side is not None
        and (own := whole.get((record.layer, record.channel))) is not None
        and names.broader(record, own)
    ]
    last = {(record.layer, record.channel): record for record in broader}
    _test(store, vlm, selector, settings, list(_cases(vlm, selector, settings, fits, last)))


def _test(
    store: Store, vlm: Vlm, selector: ReferenceSelector, settings: Naming, cases: Sequence[_Name]
) -> None:
    """Ask about what was not asked about before, and write the answers as they come."""
    done = set({names.whose(test): test.key for test in nametests.sides(store)}.values())
    open_ = _taken_over(store, [case for case in cases if case.key not in done])
    with tqdm(
        total=len(cases), initial=len(cases) - len(open_), desc="fits", unit=" channels"
    ) as progress:
        for start in range(0, len(open_), _AT_ONCE):
            tested = _tested(vlm, selector.references, open_[start : start + _AT_ONCE], settings)
            nametests.append(store, tested)
            progress.update(len(tested))


def _taken_over(store: Store, cases: Sequence[_Name]) -> list[_Name]:
    """Write anew what was answered before; return the other names.

    That is before another name was tested, or before the atlas was indexed anew: the same pictures
    were shown with the same words, only the rows that they stand in differ.
    """
    known = {str(test.get("key")): test for test in nametests.every(store, nametests.SIDES)}
    again = [case for case in cases if case.key in known]
    nametests.append(store, [{**known[case.key], "references": case.rows} for case in again])
    return [case for case in cases if case.key not in known]


def _whole(store: Store, vlm: Vlm) -> dict[Address, NameRecord]:
    """Return what the model said last of each channel as a whole."""
    return {
        (record.layer, record.channel): record
        for record in names.valid(store)
        if record.method == "vlm"
        and record.whole
        and (record.by, record.revision) == (vlm.id, vlm.revision)
    }


def _cases(
    vlm: Vlm,
    selector: ReferenceSelector,
    settings: Naming,
    fits: str,
    last: Mapping[Address, NameRecord],
) -> Iterator[_Name]:
    references = selector.references
    for address in selector.addresses:
        record = last.get(address)
        rows = {mode: references.of(*address, mode)[: settings.references] for mode in MODES}
        if record is None or record.name is None or not all(rows.values()):
            continue
        side = _side(record, references)
        if side is None:
            continue
        prompt = prompts.fitting(fits, settings.view, record.name)
        facts = [*address, record.name, vlm.id, vlm.revision, prompt.sha256]
        facts += [settings.view, settings.side, side]
        shown = [fingerprint(references, rows[mode], facts) for mode in MODES]
        key = hashlib.sha256("\n".join(shown).encode()).hexdigest()
        yield _Name(record, side, rows, prompt, key)


def _side(record: NameRecord, references: References) -> Mode | None:
    """Return the mode of the references that a name was made from, whatever is asked for now.

    None if they are none of the channel's, as in a foreign file.
    """
    shown = set(record.images)
    for mode in MODES:
        if shown and shown <= set(references.of(record.layer, record.channel, mode)):
            return mode
    return None


def _tested(
    vlm: Vlm, references: References, cases: Sequence[_Name], settings: Naming
) -> list[dict[str, object]]:
    """Ask about some channels; one at which the model fails stays untested."""
    try:
        return _ask(vlm, references, cases, settings)
    except UserError:  # a server that is away: nothing is said of the questions
        raise
    except Exception as error:  # whatever a model raises, the run goes on
        if len(cases) == 1:
            address = f"{cases[0].record.layer}:{cases[0].record.channel}"
            _log.warning("the name of %s is not tested: %s", address, one_line(error))
            return []
        return [one for case in cases for one in _tested(vlm, references, [case], settings)]


def _ask(
    vlm: Vlm, references: References, cases: Sequence[_Name], settings: Naming
) -> list[dict[str, object]]:
    """Ask about some channels; return a record of each whose answers are all there."""
    requests = [
        Request([view(references.patch(row), settings.view, settings.side)], case.prompt.text)
        for case in cases
        for mode in MODES
        for row in case.rows[mode]
    ]
    replies = vlm.yes(requests)
    records = []
    for case in cases:
        said: dict[Mode, list[float]] = {}
        for mode in MODES:
            count = len(case.rows[mode])
            said[mode], replies = replies[:count], replies[count:]
        every = [one for mode in MODES for one in said[mode]]
        if np.isnan(every).any():  # some answers are still to come
            continue
        sampled = sum(isinstance(one, SampledChance) for one in every)
        records.append({
            "key": case.key,
            "test": nametests.SIDES,
            "layer": case.record.layer,
            "channel": case.record.channel,
            "name": case.record.name,
            "by": vlm.id,
            "revision": vlm.revision,
            **vlm.facts,
            "side": case.side,
            "fits": {mode: nametests.fitting(said[mode]) for mode in MODES},
            "answers": {mode: [round(float(one), 4) for one in said[mode]] for mode in MODES},
            "references": case.rows,
            **({"sampled": sampled} if sampled else {}),
        })  # fmt: skip
    return records
