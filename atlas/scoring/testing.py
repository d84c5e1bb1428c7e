"""Scores of all names, by the model that is asked whether patches fit them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from atlas import prompts
from atlas.patches import vectors
from atlas.patches.views import References, View, view
from atlas.probe import formulas
from atlas.probe.probe import Probe, Responses, cut_patches, measure_responses
from atlas.recipe import Scoring
from atlas.scoring import metrics
from atlas.scoring.clarity import clarity
from atlas.scoring.detection import Trial, trial
from atlas.store import SCORES_FILE, Store, journal, names, states
from atlas.vlm import Request, SampledChance, Vlm

_AT_ONCE = 16  # channels that are asked about between two writings
_ALIKE = 100  # neighbours among which hard negatives are sought
_STRANGERS = 5_000  # patches among which strangers are sought


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
    borrowed: str
    trial: Trial
    images: list[int]  # rows of images.parquet, of the trial's patches
    key: str


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
        With names.
    vlm : Vlm
        Who is asked.
    probe : Probe
        The network, to measure activations in pictures that are no references.
    settings : Scoring
        How many patches and pictures.
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
    index = vectors.load_of(store)
    responses = measure_responses(store, probe, settings.pictures, settings.seed)
    cases = _cases(store, vlm, references, index, responses, settings, shown)
    state = states.now(store)
    done = _known(store, state)
    open_ = [case for case in cases if case.key not in done]
    wanted = [(int(row), case.row) for case in open_ for row in case.trial.rows]
    patches = cut_patches(store, probe, responses, wanted)
    width = settings.patches
    asked = 0
    with tqdm(
        total=len(cases), initial=len(cases) - len(open_), desc="scores", unit=" channels"
    ) as progress:
        for start in range(0, len(open_), _AT_ONCE):
            part = open_[start : start + _AT_ONCE]
            images = [
                view(patch, shown.view, shown.side)
                for patch in patches[start * width : (start + len(part)) * width]
            ]
            requests = [
                Request([image], prompts.fitting(settings.prompt, shown.view, concept).text)
                for number, case in enumerate(part)
                for concept in (case.name, case.borrowed)
                for image in images[number * width : (number + 1) * width]
            ]
            replies = vlm.yes(requests)
            answers = np.array(replies, np.float64).reshape(len(part), 2, width)
            sampled = np.array([isinstance(one, SampledChance) for one in replies]).reshape(
                len(part), -1
            )
            tested = [
                _score(case, vlm, pair[0], pair[1], settings)
                | {"atlas": state.atlas, "network": state.network}
                | _how(counted)
                for case, pair, counted in zip(part, answers, sampled, strict=True)
                if not np.isnan(pair).any()  # some answers are still to come
            ]
            journal.append(store.root / SCORES_FILE, tested)
            asked += len(tested)
            progress.update(len(tested))
    _write(store, cases, references, index, responses, settings, superclasses)
    return asked


def _known(store: Store, state: states.State) -> dict[str, dict[str, Any]]:
    """Return the scores of the atlas as it is now, by their keys."""
    scores = journal.read(store.root / SCORES_FILE)
    return {
        score["key"]: score for score in scores if state.has(score.get("atlas")) and "key" in score
    }


def _how(sampled: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return what a record says of how yes was weighed, where it is not the usual way."""
    return {"sampled": int(sampled.sum())} if sampled.any() else {}


def _cases(
    store: Store,
    vlm: Vlm,
    references: References,
    index: Any,
    responses: Responses,
    settings: Scoring,
    shown: Shown,
) -> list[_Case]:
    table = store.table("channels").to_pydict()
    addresses = list(zip(table["layer"], table["channel"], strict=True))
    named: dict[int, str] = {row: name for row, name in enumerate(table["name"]) if name}
    seen = _seen(store, references)
    everything = sorted(set(named.values()))
    cases = []
    for row, name in named.items():
        address = addresses[row]
        random = np.random.default_rng([settings.seed, row])
        rows = references.of(*address, "relevance") or references.of(*address, "activation")
        mean = vectors.of_rows(index, np.array(rows, np.int64)).mean(0, keepdims=True)
        nearest = index.search(mean, min(_ALIKE + len(rows), index.ntotal))[1][0]
        alike = references.image[nearest[nearest >= 0]].tolist()
        excluded = seen.get(address, np.array([], np.int64))
        tried = trial(responses, row, excluded, alike, settings.patches, random)
        others = [other for other in everything if not names.words(other) & names.words(name)]
        if tried is None or not others:
            continue
        borrowed = str(random.choice(others))
        facts = (
            address, name, borrowed, vlm.id, vlm.revision, tried.rows.tolist(),
            prompts.fitting(settings.prompt, shown.view, name).sha256, shown.side,
        )  # fmt: skip
        key = hashlib.sha256(repr(facts).encode()).hexdigest()
        images = responses.images[tried.rows].tolist()
        cases.append(_Case(row, address, name, borrowed, tried, images, key))
    return cases


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


def _score(
    case: _Case,
    vlm: Vlm,
    answers: npt.NDArray[np.float64],
    control: npt.NDArray[np.float64],
    settings: Scoring,
) -> dict[str, Any]:
    positive, activations = case.trial.positive, case.trial.activations
    low, high = metrics.interval(answers, positive, settings.resamples, settings.seed)
    return {
        "key": case.key,
        "layer": case.address[0],
        "channel": case.address[1],
        "name": case.name,
        "by": vlm.id,
        "revision": vlm.revision,
        **vlm.facts,
        "detection": metrics.average_precision(answers, positive),
        "detection_low": low,
        "detection_high": high,
        "pearson": metrics.pearson(answers, activations),
        "borrowed_name": case.borrowed,
        "borrowed": metrics.average_precision(control, positive),
        "answers": [round(value, 4) for value in answers.tolist()],
        "images": case.images,
        "activations": [float(f"{value:.4g}") for value in activations.tolist()],
        "positive": positive.tolist(),
    }


def _write(
    store: Store,
    cases: Sequence[_Case],
    references: References,
    index: Any,
    responses: Responses,
    settings: Scoring,
    superclasses: Mapping[str, frozenset[int]],
) -> None:
    """Put the scores into channels.parquet."""
    table = store.table("channels").select(["layer", "channel"])
    scores = _known(store, states.now(store))
    by_row = {case.row: scores[case.key] for case in cases if case.key in scores}
    columns = {
        f"score_{name}": [
            by_row[row][name] if row in by_row else None for row in range(table.num_rows)
        ]
        for name in ("detection", "detection_low", "detection_high", "pearson", "borrowed")
    }
    columns["score_clarity"] = _clarities(store, references, index, settings.seed)
    columns["score_label_auc"] = _label_aucs(store, responses, superclasses)
    store.extend_table("channels", columns)


def _clarities(store: Store, references: References, index: Any, seed: int) -> list[float | None]:
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
