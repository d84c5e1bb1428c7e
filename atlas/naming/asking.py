"""Naming by a vision-language model: every channel is asked about once, for good.

The name is then tested on the references of both modes; where those that it was not made from do
not fit it, they are asked about as well.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image
from tqdm import tqdm

from atlas import prompts
from atlas.errors import UserError, one_line
from atlas.naming import answers, sides
from atlas.naming.selection import ReferenceSelector, Selection, fingerprint
from atlas.patches.views import References, sheet, view
from atlas.probe.probe import Responses
from atlas.recipe import Naming
from atlas.store import Store, names
from atlas.store.names import NameRecord
from atlas.vlm import Failed, Request, Unanswered, Vlm

SURE = 0.9
"""Channels named with less confidence, or not at all, are searched for several senses."""

_log = logging.getLogger(__name__)

_BATCHES = 4  # asked between two writings of names.jsonl


@dataclass(frozen=True)
class _Question:
    """What is asked, and the record that the answer completes."""

    selection: Selection
    prompt: prompts.Prompt
    references: str


def name_channels(
    store: Store, vlm: Vlm, settings: Naming, fits: str, responses: Responses | None = None
) -> int:
    """Name every channel and sense that this model has not named from the same references.

    Parameters
    ----------
    store : Store
        With references, pictures and the index.
    vlm : Vlm
        Who is asked.
    settings : Naming
        What is shown and how it is asked.
    fits : str
        The prompt that asks whether a patch fits a name, by which both sides are tested.
    responses : Responses, optional
        Responses of all channels, by which contrast is found. Without them none is shown.

    Returns
    -------
    int
        How many questions for names were asked.

    Raises
    ------
    UserError
        The prompt or a file of the atlas cannot be read.
    """
    selector = ReferenceSelector(store, References(store), settings, responses)
    asked = _ask_all(store, vlm, selector.references, selector.whole(), settings, "names")
    other = sides.contradicted(store, vlm, selector, settings, fits)
    asked += _ask_all(store, vlm, selector.references, selector.side(other), settings, "sides")
    sides.test_broader(store, vlm, selector, settings, fits)
    if settings.senses:
        doubtful = _doubtful(store, vlm, selector.addresses)
        senses = selector.senses(doubtful)
        asked += _ask_all(store, vlm, selector.references, senses, settings, "senses")
    return asked


def _doubtful(
    store: Store, vlm: Vlm, addresses: Sequence[tuple[str, int]]
) -> list[tuple[str, int]]:
    """Return the channels that the model gave no name that it is sure of."""
    said = {
        (record.layer, record.channel): record
        for record in names.valid(store)
        if record.method == "vlm" and record.by == vlm.id and record.whole
    }
    return [
        address
        for address in addresses
        if (record := said.get(address)) and not (record.confidence or 0) >= SURE
    ]


def _ask_all(
    store: Store,
    vlm: Vlm,
    references: References,
    selections: Sequence[Selection],
    settings: Naming,
    label: str,
) -> int:
    """Ask what was not asked before, and write the answers as they come."""
    questions = [_question(references, one, settings) for one in selections]
    done = names.last_keys(names.valid(store))
    open_ = [question for question in questions if _key(question, vlm) not in done]
    open_ = _taken_over(store, vlm, open_)
    first = len(names.read(store))
    written, cut = first, 0
    with tqdm(
        total=len(questions), initial=len(questions) - len(open_), desc=label, unit=" channels"
    ) as progress:
        step = _BATCHES * settings.batch_size
        for start in range(0, len(open_), step):
            records = _ask(vlm, references, open_[start : start + step], settings)
            names.append(store, records, written)
            written += len(records)
            cut += sum(
                record.details.get("problem") in (answers.CUT, answers.CUT_THINKING)
                for record in records
            )
            progress.update(len(records))
    if cut:
        _log.warning(
            "%d of %d answers were cut off at naming.max_tokens = %d: give them more",
            *(cut, len(open_), settings.max_tokens),
        )
    return written - first


def _taken_over(store: Store, vlm: Vlm, questions: Sequence[_Question]) -> list[_Question]:
    """Write anew what was answered before; return the other questions.

    That is what was asked before other questions, whose answers have counted since, or before the
    atlas was indexed anew: the same pictures were shown with the same words, only the rows that
    they stand in differ.
    """
    records = names.read(store)
    known = {record.key: record for record in records}
    found = [(q, known.get(_key(q, vlm))) for q in questions]
    names.append(
        store, [_of_now(q, record) for q, record in found if record is not None], len(records)
    )
    return [question for question, record in found if record is None]


def _of_now(question: _Question, record: NameRecord) -> NameRecord:
    """Return an earlier record with the rows of the atlas as it is now."""
    selection = question.selection
    rows = {"contrast": list(selection.contrast)}
    rows |= {} if selection.sense is None else {"members": list(selection.members)}
    details = {**record.details, **rows}
    return replace(record, images=list(selection.shown), share=selection.share, details=details)


def _key(question: _Question, vlm: Vlm) -> tuple[Any, ...]:
    return _record(question, vlm, answers.Answer("unnamed")).key


def _question(references: References, selection: Selection, settings: Naming) -> _Question:
    prompt = prompts.naming(
        settings.prompt,
        settings.view,
        settings.layout,
        len(selection.shown),
        len(selection.contrast),
    )
    facts = [
        settings.view,
        settings.layout,
        settings.side,
        len(selection.contrast),
        selection.whole,
    ]
    shown = fingerprint(references, (*selection.shown, *selection.contrast), facts)
    return _Question(selection, prompt, shown)


def _ask(
    vlm: Vlm, references: References, questions: Sequence[_Question], settings: Naming
) -> list[NameRecord]:
    """Ask, ask once more what could not be read, and return a record for each question.

    There is none yet for those that wait for an answer.
    """
    images = [_images(references, question.selection, settings) for question in questions]
    requests = [
        Request(shown, question.prompt.text)
        for shown, question in zip(images, questions, strict=True)
    ]
    answered = list(_answers(vlm, requests))
    again = [
        row
        for row, (raw, answer) in enumerate(answered)
        if answer.status == "unnamed" and not isinstance(raw, Unanswered | Failed)
    ]
    retries = [
        Request(images[row], f"{requests[row].text}\n\n{questions[row].prompt.retry}")
        for row in again
    ]
    for row, second in zip(again, _answers(vlm, retries), strict=True):
        if second[1].status != "unnamed" or isinstance(second[0], Unanswered):
            answered[row] = second
    return [
        _record(question, vlm, answer, raw, retried=row in again)
        for row, (question, (raw, answer)) in enumerate(zip(questions, answered, strict=True))
        if not isinstance(raw, Unanswered)
    ]


def _answers(vlm: Vlm, requests: Sequence[Request]) -> Iterator[tuple[str, answers.Answer]]:
    """Yield raw and understood answers; a model that fails is an answer that cannot be used."""
    if not requests:
        return
    try:
        raws = vlm.ask(requests)
    except UserError:  # a server that is away: nothing is said of the questions
        raise
    except Exception as error:  # whatever a model raises, the run goes on
        if len(requests) == 1:
            yield "", answers.Answer("unnamed", problem=f"the model failed: {one_line(error)}")
            return
        for request in requests:  # one of them may be at fault
            yield from _answers(vlm, [request])
        return
    for raw, request in zip(raws, requests, strict=True):
        if isinstance(raw, Failed):
            yield Failed(), answers.Answer("unnamed", problem=f"the model failed: {raw}")
        else:
            yield raw, answers.parse(raw, request.text)


def _images(references: References, selection: Selection, settings: Naming) -> list[Image.Image]:
    groups = [
        [view(references.patch(row), settings.view, settings.side) for row in rows]
        for rows in (selection.shown, selection.contrast)
        if rows
    ]
    if settings.layout == "sheet":
        return [sheet(group) for group in groups]
    return [image for group in groups for image in group]


def _record(
    question: _Question, vlm: Vlm, answer: answers.Answer, raw: str = "", *, retried: bool = False
) -> NameRecord:
    selection = question.selection
    details: dict[str, Any] = {
        "set": selection.whole,
        "contrast": list(selection.contrast),
        **vlm.facts,
    }
    if selection.sense is not None:
        details["members"] = list(selection.members)
    if answer.problem:
        details["problem"] = answer.problem
    if retried:
        details["asked"] = 2
    return NameRecord(
        layer=selection.layer,
        channel=selection.channel,
        method="vlm",
        by=vlm.id,
        status=answer.status,
        name=answer.name,
        description=answer.description,
        confidence=answer.confidence,
        sense=selection.sense,
        share=selection.share,
        side=selection.side,
        revision=vlm.revision,
        prompt=question.prompt.as_dict(),
        decoding=vlm.decoding,
        references=question.references,
        images=list(selection.shown),
        raw=raw,
        details=details,
    )
