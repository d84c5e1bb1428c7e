"""Claims about order: which is the strongest, which comes next, what is more than what."""

from collections.abc import Sequence
from itertools import pairwise

from atlas.explain.narrative import lexicon as words
from atlas.explain.narrative.reading import Clause, Token
from atlas.explain.narrative.scope import (
    Scope,
    State,
    followed_by,
    follows,
    lists,
    nearest,
    preceded_by,
)
from atlas.store.evidence import Concept


def check_orders(clause: Clause, state: State, scope: Scope) -> None:
    """Check superlatives, ordinals, and what is said to follow what."""
    most = [
        token
        for token in lists(clause, words.MOST)
        if not preceded_by(clause, token, {"at"}) and not followed_by(clause, token, {"of"})
    ]
    if lists(clause, {"above"}) and not lists(clause, {"all"}):
        scope.refuse("'above' cannot be checked")
    least = [t for t in lists(clause, words.LEAST) if not preceded_by(clause, t, {"at"})]
    subjects = scope.concepts(clause) or state.concepts
    for token in (*most, *least):
        if not subjects:
            scope.refuse(f"{token.text!r} has no concept that it could hold for")
            continue
        scope.claim(
            _extreme(subjects, token in most, clause, state, scope),
            f"{token.text!r} does not hold for {' and '.join(one.address for one in subjects)}",
        )
    for token in clause:
        if token.text == "most" and followed_by(clause, token, {"of"}):
            held = [one.coverage for one in scope.layers(clause)]
            if scope.concepts(clause):
                held = [sum(abs(one.share) for one in scope.concepts(clause))]
            scope.claim(bool(held) and min(held) > 0.5, "it is not most of it")
        if lists([token], words.ORDINALS) and not preceded_by(clause, token, {"a"}):
            _check_ordinal(clause, token, state, scope)
        if token.kind == "word" and token.text in words.FOLLOWS:
            _check_following(clause, token, state, scope)
    for token in lists(clause, {"last", "deepest"}):
        named = {one.layer for one in subjects} | {one.layer for one in scope.layers(clause)}
        last = followed_by(clause, token, {"layer"}) and named == {scope.evidence.layers[-1].layer}
        scope.claim(last, f"{token.text!r} does not hold")


def _extreme(
    subjects: Sequence[Concept], most: bool, clause: Clause, state: State, scope: Scope
) -> bool:
    """Tell whether concepts are the first (or last) of their layer in what is spoken of."""
    if len({one.layer for one in subjects}) != 1:
        return False
    rivals = [one for one in scope.evidence.concepts if one.layer == subjects[0].layer]
    if lists(clause, {"activation", "typical", "usual", "common"}):
        return False
    if state.taken or lists(clause, words.FALLS):
        kind = state.kind or "zero"

        def size(one: Concept) -> float:
            return -scope.evidence.effect(one.id, kind).probability

        if not all(scope.cited_effect(one) for one in subjects):
            return False
    else:
        against = bool(lists(clause, words.AGAINST))
        if against or lists(clause, words.FOR | words.SPEAKS) or lists(clause, {"mainly"}):
            direction = "against" if against else "for"
            rivals = [one for one in rivals if one.direction == direction]

        def size(one: Concept) -> float:
            return abs(one.share)

    ordered = sorted(rivals, key=size, reverse=most)
    chosen = {one.id for one in ordered[: len(subjects)]}
    enough = sum(abs(one.share) for one in subjects) > 0.5 if lists(
        clause, {"mostly", "predominantly"}
    ) else True  # fmt: skip
    return chosen == {one.id for one in subjects} and enough


def _check_ordinal(clause: Clause, token: Token, state: State, scope: Scope) -> None:
    rank = words.ORDINALS[token.text]
    if followed_by(clause, token, {"layer"}):
        layers = {one.layer for one in scope.concepts(clause) or state.concepts}
        layers |= {one.layer for one in scope.layers(clause)}
        scope.claim(
            rank == 1 and layers == {scope.evidence.layers[0].layer}, "that is another layer"
        )
        return
    name = nearest(clause, clause.index(token))
    if name is None:
        scope.refuse(f"{token.text!r} cannot be checked")
    elif name.names.guesses and not name.names.concepts:
        ranks = {one.rank for one in name.names.guesses}
        scope.claim(rank in ranks, f"{name.text} is not {token.text}")
    else:
        ranks = {one.rank for one in scope.only_cited(name.names.concepts)}
        scope.claim(rank in ranks, f"{name.text} is not {token.text}")


def _check_following(clause: Clause, token: Token, state: State, scope: Scope) -> None:
    position = clause.index(token)
    before, after = scope.concepts(clause[:position]), scope.concepts(clause[position:])
    if token.text == "then":
        before, after = before[-1:], after[:1]
        if not before or not after:
            return
    elif token.text == "followed":
        before, after = before or state.before, after[:1]
    elif state.before:  # “A”; “B” follows
        before, after = state.before, before or after
    layers = {one.layer for one in (*before, *after)}
    right = (
        bool(before) and bool(after) and len(layers) == 1
        and max(one.rank for one in before) < min(one.rank for one in after)
    )  # fmt: skip
    scope.claim(right, "what is said to follow does not")


def check_comparisons(clause: Clause, state: State, scope: Scope) -> None:
    """Check what is said to be more or less than something else."""
    alike = [i for i, token in enumerate(clause) if token.text == "as"]
    if any(other - one == 2 for one, other in pairwise(alike)):
        scope.refuse("that one is as much as another cannot be checked")
    for position, token in enumerate(clause):
        if token.kind != "word":
            continue
        than = next((i for i, one in enumerate(clause) if i > position and one.text == "than"), 0)
        following = clause[than + 1 :] if than else clause[position + 1 :]
        if token.text in words.MORE | words.LESS | words.SOONER | words.LATER:
            if followed_by(clause, token, {"left", "right"}):
                continue  # a place
            if not than:
                scope.refuse(f"{token.text!r} than what cannot be checked")
            elif not following or following[0].kind != "number":  # else a bound of a number
                more = token.text in words.MORE | words.LATER
                _compare(clause[:than], following, more, clause, state, scope)
        elif token.text in words.OUTWEIGHS or (
            token.text == "ahead" and follows(clause, position, "of")
        ):
            _compare(clause[:position], following, True, clause, state, scope)
        elif token.text == "behind" and following and following[0].kind == "name":
            _compare(clause[:position], following, False, clause, state, scope)


def _compare(
    left: Clause, right: Clause, more: bool, clause: Clause, state: State, scope: Scope
) -> None:
    """Compare what stands on the left of a comparison with what stands on its right."""
    curves = scope.curves(clause)
    orders = [
        [words.ORDERS[one.text] for one in part if one.text in words.ORDERS]
        for part in (left, right)
    ]
    subjects = scope.concepts(left)[-1:] or state.concepts[-1:]
    others = scope.concepts(right)[:1]
    ours, theirs = scope.guesses(left)[-1:], scope.guesses(right)[:1]
    if curves and all(orders):
        for curve in curves:
            areas = {course.order: course.area_logit for course in curve.courses}
            # "lower", and "sooner", "faster" mean that less is left on the way.
            holds = _is(areas[orders[0][-1]], areas[orders[1][0]], more)
            scope.claim(holds, "the curves are the other way round")
    elif lists(clause, words.FALLS | words.RISES | {"matters", "matter"}) or state.taken:
        scope.refuse("a comparison of effects cannot be checked; give the numbers")
    elif subjects and others:
        one, other = subjects[0], others[0]
        holds = one.layer == other.layer and _is(abs(one.share), abs(other.share), more)
        scope.claim(holds, f"{one.address} and {other.address} do not compare like that")
    elif subjects and lists(right, {"usual", "usually"}):
        one = subjects[0]
        holds = one.usual is not None and _is(abs(one.share), abs(one.usual), more)
        scope.claim(holds, f"{one.address} is not so, compared with the usual")
    elif ours and theirs:
        holds = _is(ours[0].probability, theirs[0].probability, more)
        scope.claim(holds, "the classes do not compare like that")
    else:
        scope.refuse("a comparison cannot be checked")


def _is(value: float, other: float, more: bool) -> bool:
    return value > other if more else value < other
