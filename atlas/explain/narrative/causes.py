"""Claims about the network: what it says, how sure it is, and what would change that."""

from atlas.explain.narrative import lexicon as words
from atlas.explain.narrative.reading import Clause
from atlas.explain.narrative.scope import (
    Scope,
    State,
    lists,
    preceded_by,
)

CERTAIN, SURE, DOUBTING = 0.95, 0.8, 0.5
"""Probabilities from which a network may be called certain or sure, and below which not sure."""

MATTERS = 0.1
"""A concept is a reason only if the probability falls by as much without it."""

UNCHANGED = 0.02
"""A smaller change of a probability is called none."""


def check_certainty(clause: Clause, state: State, scope: Scope) -> None:
    """Check how sure the network is said to be."""
    probability = scope.evidence.prediction[0].probability
    turned = bool(lists(clause, words.NEGATIONS))
    sure, unsure = lists(clause, words.SURE), lists(clause, words.UNSURE)
    if sure and not turned:
        limit = CERTAIN if lists(clause, {"certain"}) else SURE
        scope.claim(probability >= limit, "the network is not so sure")
    elif sure:
        scope.claim(probability < DOUBTING, "the network is surer than that")
    elif unsure:
        scope.claim(probability < SURE and not turned, "the network is surer than that")
    for guess in scope.guesses(clause) if sure else ():
        best = scope.evidence.prediction[0]
        scope.claim(guess.label == best.label, f"of “{guess.name}” it is not sure")
    if (sure or unsure) and state.taken:
        scope.refuse("how sure it would be is said by the probability")
    if (sure or unsure) and "prediction" not in scope.cited:
        scope.refuse("how sure the network is stands in `prediction`, which is not cited")


def check_answers(clause: Clause, state: State, scope: Scope) -> None:
    """Check what the network is said to take the picture for, and what is explained."""
    best = scope.evidence.prediction[0]
    if lists(clause, {"explained", "explain", "target", "ask", "asked"}):
        for guess in scope.guesses(clause):
            scope.claim(guess.label == scope.evidence.target.label, f"“{guess.name}” is not it")
    answers = {effect.answer for effect in scope.effects(state)} if state.taken else {best.label}
    moves = lists(clause, words.FALLS | words.RISES)
    for position, token in enumerate(clause):
        guesses = scope.guesses([token])
        if not guesses:
            continue
        labels = {guess.label for guess in guesses}
        before = clause[position - 1].text if position else ""
        if (
            state.taken
            and scope.evidence.target.label in labels
            and (moves or before in ("for", "of"))
        ):
            continue  # its probability, which `check_numbers` sees to
        said = state.taken or (lists(clause, words.TAKES) and not lists(clause, words.ORDINALS))
        if said:
            scope.claim(bool(labels & answers), f"the answer is not “{token.text}”")
    if lists(clause, words.TAKES - {"answer", "answers"}) and not scope.guesses(clause):
        for token in clause:
            if token.kind == "name" and token.names.concepts:
                scope.refuse(f"the network does not say “{token.text}”")


def check_causes(clause: Clause, state: State, scope: Scope) -> None:
    """Check what is said to change, or to be a reason: only where it was tried."""
    falls, rises = lists(clause, words.FALLS), lists(clause, words.RISES)
    keeps, reasons = lists(clause, words.KEEPS), lists(clause, words.REASONS)
    reasons = [t for t in reasons if not preceded_by(clause, t, {"the"})]  # "the rest"
    conditions = lists(clause, words.CONDITIONS)
    changed = lists(clause, {"change", "changes", "difference"})
    if not (falls or rises or keeps or reasons or conditions or changed):
        return
    if scope.curves(clause) and not scope.concepts(clause):
        for token in (*reasons, *rises):
            scope.refuse(f"{token.text!r} was not tested")
        return
    if (falls or rises) and state.kind is None:
        scope.refuse(f"{(falls or rises)[0].text!r} when what is taken away?")
        return
    effects = scope.effects(state)
    if not effects:
        word = (falls or rises or keeps or reasons or conditions or changed)[0].text
        scope.refuse(f"{word!r} says what would change, but no intervention is cited")
        return
    target = scope.evidence.target
    about_logit = bool(lists(clause, {"logit"})) and not lists(clause, {"probability"})
    for effect in effects:
        drop = target.probability - effect.probability
        lower = target.logit - effect.logit if about_logit else drop
        turned = bool(lists(clause, words.NEGATIONS))
        small = abs(drop) < UNCHANGED
        if keeps or (turned and changed):
            scope.claim(small, "it does change")
        elif changed:
            scope.claim(not small, "it does not change")
        elif falls:
            scope.claim(lower > 0 and not turned, "it does not fall")
        elif rises:
            scope.claim(lower < 0 and not turned, "it does not rise")
        if reasons:
            for guess in scope.guesses(clause):
                scope.claim(guess.label == target.label, f"that says nothing of “{guess.name}”")
            scope.claim(drop >= MATTERS and not turned,
                        f"{reasons[0].text!r}: taking it away changes too little")  # fmt: skip
