"""Claims about single concepts: for or against, where, and whether that is usual."""

from atlas.explain.narrative import lexicon as words
from atlas.explain.narrative.reading import Clause
from atlas.explain.narrative.scope import (
    Scope,
    State,
    follows,
    lists,
)

PLACES = {
    "upper left": "LU", "top": "U", "upper right": "RU", "left": "L", "centre": "C",
    "right": "R", "lower left": "DL", "bottom": "D", "lower right": "DR", "all over": "A",
}  # fmt: skip


def check_directions(clause: Clause, state: State, scope: Scope) -> None:
    """Check who is said to speak for the target, and who against it."""
    speaking = bool(lists(clause, words.SPEAKS))
    turned = bool(lists(clause, words.NEGATIONS))
    marks: list[tuple[int, str]] = []
    for position, token in enumerate(clause):
        if token.kind != "word":
            continue
        if token.text in words.AGAINST:
            marks.append((position, "against"))
        elif token.text in words.FOR or (token.text == "for" and speaking):
            marks.append((position, "for"))
    if not marks:
        if speaking:
            for guess in scope.guesses(clause):
                right = guess.label == scope.evidence.target.label
                scope.claim(right, f"what speaks for “{guess.name}” is not known")
        return
    _check_side(clause, [position for position, _ in marks], scope)
    opposite = {"for": "against", "against": "for"}
    for number, (position, direction) in enumerate(marks):
        wanted = opposite[direction] if turned else direction
        start = marks[number - 1][0] if number else 0
        stop = marks[number + 1][0] if number + 1 < len(marks) else len(clause)
        subjects = scope.concepts(clause[start:position])
        if not subjects or len(marks) == 1:
            subjects = (
                scope.concepts(clause[position:stop]) if not subjects else scope.concepts(clause)
            )
        if not subjects and (lists(clause, {"all", "none", "nothing"}) or
                             (turned and lists(clause, {"no", "concept"}))):  # fmt: skip
            named = {token.names.layer for token in clause if token.kind == "name"} - {None}
            subjects = [one for one in scope.evidence.concepts
                        if not named or one.layer in named]  # fmt: skip
        subjects = subjects or state.concepts
        if not subjects and not lists(clause, {"what", "concept", "concepts", "channels"}):
            scope.refuse(f"who speaks {wanted} it?")
        for one in subjects:
            scope.claim(one.direction == wanted, f"{one.address} does not speak {wanted} it")


def _check_side(clause: Clause, marks: list[int], scope: Scope) -> None:
    """Check that it is the explained class which is spoken for or against, and nothing else."""
    target = scope.evidence.target
    for position, token in enumerate(clause):
        if token.kind != "name":
            continue
        guesses = scope.guesses([token])
        if guesses:
            right = position - 1 in marks and target.label in {guess.label for guess in guesses}
            scope.claim(right, f"what speaks for “{token.text}” is not known")
        elif position - 1 in marks:
            scope.refuse(f"“{token.text}” is nothing to speak for or against")


def check_places(clause: Clause, state: State, scope: Scope) -> None:
    """Compare where concepts are said to be with their regions."""
    said = {words.PLACES[one.text] for one in clause if one.text in words.PLACES}
    if lists(clause, {"corner", "sides", "side"}):
        scope.refuse("a corner or a side cannot be checked")
    for position, token in enumerate(clause):
        if token.text == "all" and follows(clause, position, "over"):
            said.add("A")
        if token.text == "whole":
            said.add("A")
    if not said:
        return
    following = scope.clauses[scope.clauses.index(clause) + 1 :][:1]
    subjects = scope.concepts(clause) or state.concepts
    subjects = subjects or [one for part in following for one in scope.concepts(part)]
    if not subjects:
        scope.refuse("a place has nothing that could be there")
    for one in subjects:
        where = one.region.where
        scope.claim(set(PLACES[where]) == said, f"{one.address} is elsewhere: {where}")


def check_habits(clause: Clause, state: State, scope: Scope) -> None:
    """Check what is said to be typical of the class, or not."""
    turned = bool(lists(clause, words.NEGATIONS))
    for position, token in enumerate(clause):
        usual = token.text in words.TYPICAL
        if token.kind != "word" or not (usual or token.text in words.UNTYPICAL):
            continue
        before = clause[position - 1].text if position else ""
        after = clause[position + 1] if position + 1 < len(clause) else None
        numbers = any(one.kind == "number" for one in clause)
        quantity = before in ("the", "its") or (
            after is not None
            and (after.kind == "number" or after.text in {"share", "shares", "relevance"})
        )
        if before == "than":
            continue  # a comparison
        if quantity:
            if not numbers:
                scope.refuse(f"{token.text!r}: give the number")
            continue
        if not scope.concepts(clause) and numbers:
            continue  # "3.0 % is usual"
        subjects = scope.concepts(clause) or state.concepts
        if not subjects:
            scope.refuse(f"{token.text!r} holds for nothing that is named")
        for guess in scope.guesses(clause):
            target = scope.evidence.target
            scope.claim(guess.label == target.label, f"of “{guess.name}” nothing is known")
        for one in subjects:
            wanted = usual != turned
            scope.claim(one.typical is wanted, f"{token.text!r} does not hold for {one.address}")
