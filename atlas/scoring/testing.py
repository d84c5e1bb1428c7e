"""Scores of all names, by the model that is asked whether patches fit them.

Beside a name's own score stand those of names that say nothing of the channel: the mean of some
that are borrowed from other channels, one of them the atlas's most frequent name, whose score
stands alone too; and "anything", whose average precision is the base rate.
"""

import hashlib
import heapq
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from atlas import prompts
from atlas.patches import vectors
from atlas.patches.views import Patch, References, View, view
from atlas.probe import formulas
from atlas.probe.probe import Probe, Responses, cut_patches, measure_responses
from atlas.recipe import Scoring
from atlas.scoring import metrics
from atlas.scoring.clarity import clarity
from atlas.scoring.trials import FEWEST, KeptRange, Trial, part, trial
from atlas.store import BANDS, TESTED, Store, names, nametests, standing
from atlas.store.checks import channel_rows
from atlas.vlm import Request, SampledChance, Vlm

_AT_ONCE = 16  # channels that are asked about between two writings
_STRANGERS = 5_000  # patches among which strangers are sought

BORROWED = 3
"""Names of other channels that a name is compared with, besides the most frequent one."""

CONTROLS = 1 / 3
"""Share of a trial's patches on which each of these is tested."""

_MEASURES = ("ap", "f1", "correlation")


@dataclass(frozen=True)
class Shown:
    """How patches are shown: as they were when the names were given."""

    view: View
    side: int


@dataclass(frozen=True)
class _Case:
    """One channel to be tested."""

    row: int  # of channels.parquet
    address: tuple[str, int]
    name: str
    controls: tuple[str, ...]  # the most frequent name, then borrowed ones
    trial: Trial
    some: npt.NDArray[np.int64]  # patches on which controls are tested
    key: str

    @property
    def questions(self) -> list[tuple[str, int]]:
        """Name and patch of each question, the name's own first."""
        own = [(self.name, place) for place in range(len(self.trial.image))]
        return own + [(name, place) for name in self.controls for place in self.some.tolist()]


def score_names(
    store: Store,
    vlm: Vlm,
    probe: Probe,
    settings: Scoring,
    shown: Shown,
    superclasses: Mapping[str, frozenset[int]],
) -> int:
    """Test every name that this model has not tested on the same patches.

    Parameters
    ----------
    store : Store
        With names and bands.
    vlm : Vlm
        Who is asked.
    probe : Probe
        The network, to find out where in a picture a channel responds.
    settings : Scoring
        How many patches.
    shown : Shown
        How patches are shown.
    superclasses : mapping
        Name -> numbers of its classes.

    Returns
    -------
    int
        How many channels were asked about.
    """
    references = References(store)
    cases = _cases(store, vlm, references, settings, shown)
    done = _known(store)
    open_ = [case for case in cases if case.key not in done]
    patches = _patches(store, probe, open_)
    asked = 0
    with tqdm(
        total=len(cases), initial=len(cases) - len(open_), desc="scores", unit=" channels"
    ) as progress:
        for start in range(0, len(open_), _AT_ONCE):
            several = open_[start : start + _AT_ONCE]
            tested = _ask(vlm, several, patches, settings, shown)
            nametests.append(store, tested)
            asked += len(tested)
            progress.update(len(tested))
    _write(store, cases, references, probe, settings, superclasses)
    return asked


def _patches(store: Store, probe: Probe, cases: Sequence[_Case]) -> dict[tuple[int, int], Patch]:
    """Return the patches of all trials by case's row and place in its trial."""
    wanted = [
        (image, case.row, (y, x))
        for case in cases
        for image, (y, x) in zip(case.trial.image.tolist(), case.trial.peak.tolist(), strict=True)
    ]
    places = [(case.row, place) for case in cases for place in range(len(case.trial.image))]
    return dict(zip(places, cut_patches(store, probe, wanted), strict=True))


def _ask(
    vlm: Vlm,
    cases: Sequence[_Case],
    patches: Mapping[tuple[int, int], Patch],
    settings: Scoring,
    shown: Shown,
) -> list[dict[str, Any]]:
    """Ask about some channels; return a record of each whose answers are all there."""
    views = {
        (case.row, place): view(patches[case.row, place], shown.view, shown.side)
        for case in cases
        for place in range(len(case.trial.image))
    }
    requests = [
        Request([views[case.row, place]], prompts.fitting(settings.prompt, shown.view, name).text)
        for case in cases
        for name, place in case.questions
    ]
    replies = vlm.yes(requests)
    records = []
    for case in cases:
        own, replies = replies[: len(case.questions)], replies[len(case.questions) :]
        if not np.isnan(own).any():  # else some answers are still to come
            sampled = sum(isinstance(one, SampledChance) for one in own)
            records.append(
                _record(case, vlm, np.array(own, np.float64), settings)
                # How yes was weighed, where it is not the usual way.
                | ({"sampled": sampled} if sampled else {})
            )
    return records


def _known(store: Store) -> dict[str, Mapping[str, Any]]:
    """Return the scores of the atlas as it is now, by their keys."""
    return {score["key"]: score for score in nametests.ranges(store)}


def _cases(
    store: Store, vlm: Vlm, references: References, settings: Scoring, shown: Shown
) -> list[_Case]:
    table = store.table("channels").to_pydict()
    addresses = list(zip(table["layer"], table["channel"], strict=True))
    named = {row: name for row, name in enumerate(standing.tested_names(table)) if name}
    seen = _seen(store, references)
    frequent = [name for name, _ in Counter(named.values()).most_common()]
    cases = []
    for row, kept in _kept(store, table).items():
        if row not in named:
            continue
        address, name = addresses[row], named[row]
        tried = trial(kept, seen.get(address, np.array([], np.int64)), settings.patches)
        others = [other for other in frequent if not names.words(other) & names.words(name)]
        if tried is None or not others:
            continue
        controls = (others[0], *_drawn(others[1:], f"{settings.seed} {row}"))
        some = part(tried, max(2 * FEWEST, round(CONTROLS * settings.patches)))[0]
        facts = (
            address, name, controls, vlm.id, vlm.revision, tried.image.tolist(), some.tolist(),
            tried.weight.tolist(), prompts.fitting(settings.prompt, shown.view, name).sha256,
            shown.view, shown.side, settings.resamples, settings.seed,
        )  # fmt: skip
        key = hashlib.sha256(repr(facts).encode()).hexdigest()
        cases.append(_Case(row, address, name, controls, tried, some, key))
    return cases


def _drawn(others: Sequence[str], seed: str) -> list[str]:
    """Return some names, by numbers that each draws for itself: one more name changes few draws."""
    return heapq.nsmallest(BORROWED, others, key=lambda one: zlib.crc32(f"{seed} {one}".encode()))


def _kept(store: Store, table: Mapping[str, Sequence[Any]]) -> dict[int, KeptRange]:
    """Return what is kept of the range of each channel, by its row."""
    bands = store.table("bands")
    places = np.array([BANDS.index(band) for band in bands["band"].to_pylist()], np.int64)
    owner = channel_rows(bands, store.table("channels", ["layer", "channel"]))
    images = bands["image"].to_numpy().astype(np.int64)
    activations, weights = (
        bands[n].to_numpy().astype(np.float64) for n in ("activation", "weight")
    )
    peaks = np.stack([bands[name].to_numpy().astype(np.int64) for name in ("y", "x")], axis=1)
    inside = np.flatnonzero(places != BANDS.index("random"))
    result = {}
    for rows in np.split(inside, np.flatnonzero(np.diff(owner[inside])) + 1):
        if len(rows):
            row = int(owner[rows[0]])
            result[row] = KeptRange(
                places[rows], images[rows], activations[rows], weights[rows], peaks[rows],
                table["act_edges"][row], table["act_counts"][row], table["images"][row],
            )  # fmt: skip
    return result


def _seen(store: Store, references: References) -> Mapping[tuple[str, int], npt.NDArray[np.int64]]:
    """Return the pictures that each channel's names were made from."""
    rows: dict[tuple[str, int], list[int]] = {}
    for record in names.valid(store):
        mine = rows.setdefault((record.layer, record.channel), [])
        mine += [*record.images, *record.details.get("contrast", ())]
    count = len(references.image)  # a foreign file may name rows that there are not
    return {
        address: np.unique(references.image[[row for row in shown if row < count]])
        for address, shown in rows.items()
    }


def _record(
    case: _Case, vlm: Vlm, answers: npt.NDArray[np.float64], settings: Scoring
) -> dict[str, Any]:
    tried, some = case.trial, case.some
    count = len(tried.image)
    own = _agreement(tried, answers[:count], settings)
    fewer = part(tried, len(some))[1]
    controls: list[dict[str, Any]] = [
        {
            "name": name,
            "ap": _agreement(fewer, said, settings).ap.value,
            "answers": [round(value, 4) for value in said.tolist()],
        }
        for name, said in zip(case.controls, answers[count:].reshape(-1, len(some)), strict=True)
    ]
    return {
        "key": case.key,
        "layer": case.address[0],
        "channel": case.address[1],
        "name": case.name,
        "by": vlm.id,
        "revision": vlm.revision,
        **vlm.facts,
        "test": nametests.RANGE,
        **{
            f"{measure}{end}": value
            for measure in _MEASURES
            for end, value in zip(
                ("", "_low", "_high"), astuple(getattr(own, measure)), strict=True
            )
        },
        "base_rate": tried.base_rate,
        "borrowed_ap": float(np.mean([one["ap"] for one in controls])),
        "frequent_ap": controls[0]["ap"],
        "controls": controls,
        "control_patches": some.tolist(),
        "answers": [round(value, 4) for value in answers[:count].tolist()],
        "images": tried.image.tolist(),
        "activations": [float(f"{value:.4g}") for value in tried.activation.tolist()],
        "weights": [float(f"{value:.6g}") for value in tried.weight.tolist()],
        "strata": tried.stratum.tolist(),
        "positive": tried.positive.tolist(),
        "least": tried.least,
    }


def _agreement(
    tried: Trial, answers: npt.NDArray[np.float64], settings: Scoring
) -> metrics.Agreement:
    return metrics.agreement(
        answers, tried.positive, tried.weight, tried.stratum, tried.activation,
        settings.resamples, settings.seed,
    )  # fmt: skip


def _write(
    store: Store,
    cases: Sequence[_Case],
    references: References,
    probe: Probe,
    settings: Scoring,
    superclasses: Mapping[str, frozenset[int]],
) -> None:
    """Put the scores into channels.parquet."""
    count = store.rows("channels")
    scores = _known(store)
    by_row = {case.row: scores[case.key] for case in cases if case.key in scores}
    columns: dict[str, Any] = {
        column: [
            by_row[row][column.removeprefix("score_")] if row in by_row else None
            for row in range(count)
        ]
        for column in TESTED
    }
    responses = measure_responses(store, probe, settings.pictures, settings.seed)
    columns["score_clarity"] = _clarities(store, references, settings.seed)
    columns["score_label_auc"] = _label_aucs(store, responses, superclasses)
    store.extend_table("channels", columns)


def _clarities(store: Store, references: References, seed: int) -> list[float | None]:
    index = vectors.load_of(store)
    random = np.random.default_rng(seed)
    sample = random.permutation(len(references.image))[:_STRANGERS].astype(np.int64)
    strangers = vectors.of_rows(index, sample)
    table = store.table("channels").select(["layer", "channel"]).to_pydict()
    values = []
    for address in zip(table["layer"], table["channel"], strict=True):
        rows = references.of(*address, "relevance") or references.of(*address, "activation")
        own = vectors.of_rows(index, np.array(rows, np.int64)) if rows else strangers[:0]
        values.append(clarity(own, strangers[~np.isin(sample, rows)], random))
    return values


def _label_aucs(
    store: Store, responses: Responses, superclasses: Mapping[str, frozenset[int]]
) -> list[float | None]:
    """Return for each channel the AUC of the combination of labels that it distinguishes best."""
    known = formulas.picture_labels(store, responses.images, superclasses)
    found = formulas.best(known, responses.values)
    return [None if formula is None else formula.auc for formula in found]
