"""Every number of a sentence against the evidence: whose it is, of what, and to its rounding."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from atlas.explain.narrative import lexicon as words
from atlas.explain.narrative.feeding import feeding
from atlas.explain.narrative.quantities import find_quantity, last_name, text_at
from atlas.explain.narrative.reading import Clause, Token
from atlas.explain.narrative.scope import Scope, State, lists
from atlas.store.evidence import Concept, Curve, Guess

FRACTION_TOLERANCE = 0.04
"""How far a value may be from what is called a half, a third or a quarter."""

BOUND = 1.5
"""A value may exceed what it is said to be more than by at most this factor."""


def check_numbers(clause: Clause, state: State, scope: Scope) -> None:
    """Check the numbers of a clause, in digits and in words."""
    for position, token in enumerate(clause):
        if token.kind == "number":
            _check(clause, position, token, state, scope)
        elif token.kind == "word" and token.text in words.CARDINALS:
            if token.text == "two" and text_at(clause, position + 1) == "thirds":
                continue
            if text_at(clause, position - 1) == "the":  # the least of the four
                layers = {one.layer for one in scope.concepts(clause) or state.concepts}
                own = [one for one in scope.evidence.concepts if one.layer in layers]
                scope.claim(words.CARDINALS[token.text] == len(own), f"they are not {token.text}")
                continue
            number = Token("number", token.text, value=words.CARDINALS[token.text])
            _check(clause, position, number, state, scope)
        elif token.text in ("zero", "one") and text_at(clause, position + 1) in ("percent", "per"):
            scope.refuse("write numbers in digits")
        elif token.kind == "word" and token.text in {*words.FRACTIONS, "thirds", "quarters"}:
            _check_fraction(clause, position, token, state, scope)


def _check(clause: Clause, position: int, token: Token, state: State, scope: Scope) -> None:
    quantity = find_quantity(clause, position, scope, state)
    values = list(_values(quantity or "", clause, position, state, scope))
    bound = _bound(clause, position)
    said = f"{token.text} ({quantity or 'of what?'})"
    if bound:
        limit = token.value / 100 if _is_share(token, quantity) else token.value
        holds = any(
            limit < abs(v) <= BOUND * max(limit, 1e-9) if bound == "more" else abs(v) < limit
            for v in values
        )
        if bound == "less":
            holds = holds and any(abs(v) >= limit / 10 or limit <= 0.001 for v in values)
    else:
        holds = any(_agrees(token, quantity, value) for value in values)
    scope.claim(holds, f"{said} is not in what is cited")


def _agrees(token: Token, quantity: str | None, value: float) -> bool:
    """Tell whether a number is a value, to the digits that are written."""
    exact = value * 100 if _is_share(token, quantity) else value
    if not token.signed and quantity not in ("logit", "arrives", "usual"):
        exact = abs(exact)
    return abs(token.value - exact) <= 0.5 * 10.0**-token.places * (1 + 1e-6)


def _is_share(token: Token, quantity: str | None) -> bool:
    return token.per_cent and quantity != "percentile"


def _values(
    quantity: str, clause: Clause, position: int, state: State, scope: Scope
) -> Iterator[float]:
    """Yield what a number may be."""
    subjects = _subjects(clause, position, state, scope)
    curves, layers = scope.curves(clause), scope.layers(clause)
    if quantity in ("logit", "probability") and curves and not subjects:
        yield from _of_curves(curves, quantity, clause, position)
    elif quantity in ("logit", "probability"):
        yield from _of_answers(quantity, clause, position, state, scope)
    elif quantity == "channels":
        yield from _counted(clause, position, scope)
    elif quantity == "share":
        yield from feeding(clause, scope, position) or ()
        yield from (one.share for one in subjects)
        if not subjects and lists(clause, {"hold", "holds", "held", "carry", "carries"}):
            yield from (layer.coverage for layer in layers)
    elif quantity == "rank":
        yield from (one.rank for one in subjects or _guesses(clause, position, state, scope))
    elif quantity == "flow":
        yield from feeding(clause, scope, position) or ()
    elif quantity == "layers":
        yield len(scope.evidence.layers)
    elif quantity in _OF_CONCEPTS:
        yield from (value for one in subjects for value in _OF_CONCEPTS[quantity](one, clause))
    elif quantity in _OF_THE_REST:
        yield from _OF_THE_REST[quantity](clause, scope)


def _known(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]


def _percentile(one: Concept, clause: Clause) -> list[float]:
    standing = one.activation if lists(clause, {"activation"}) else one.relevance_standing
    return _known(standing.percentile if standing else None)


_OF_CONCEPTS: Mapping[str, Callable[[Concept, Clause], list[float]]] = {
    "usual": lambda one, _: _known(one.usual),
    "percentile": _percentile,
    "area": lambda one, _: [one.region.area],
    "pictures": lambda one, clause: (
        [one.usual_pictures] if lists(clause, {"usual", "usually", "class", "average"}) else []
    ),
    "score": lambda one, _: _known(one.score),
}


def _of_answers(
    quantity: str,
    clause: Clause,
    position: int,
    state: State,
    scope: Scope,
) -> Iterator[float]:
    """Yield probabilities or logits of classes, before and after something is taken away."""
    target = scope.evidence.target
    effects = scope.effects(state) if state.taken else []
    about = next((i for i, t in enumerate(clause) if t.text == quantity), len(clause))
    if text_at(clause, about + 1) == "of" and scope.concepts(clause[about + 2 : about + 3]):
        return  # concepts have no probability
    others = [guess for guess in scope.guesses(clause[:position]) if guess.label != target.label]
    if len(effects) > 1 or (effects and others):
        return  # whose effect it is cannot be told; nor what happens to other classes
    if not effects:
        for guess in _guesses(clause, position, state, scope):
            yield getattr(guess, quantity)
        return
    if lists(clause, {"of"}) and text_at(clause, position - 1) == "of":
        yield getattr(target, quantity)
        return
    before = text_at(clause, position - 1)
    if before in ("more", "less", "than", "about", "nearly", "around", "roughly", "almost"):
        back = position - 1
        while back >= 0 and text_at(clause, back) in (
            "more", "less", "than", "about", "nearly", "around", "roughly", "almost"
        ):  # fmt: skip
            back -= 1
        before = text_at(clause, back)
    after = getattr(effects[0], quantity)
    if before in ("from", "of"):
        yield getattr(target, quantity)
    elif before == "by":
        yield abs(getattr(target, quantity) - after)
    else:
        yield after


def _of_curves(
    curves: list[Curve], quantity: str, clause: Clause, position: int
) -> Iterator[float]:
    """Yield areas of curves, by the order that stands nearest to the number."""
    order = None
    for token in clause[position + 1 :]:
        if token.kind == "number":
            break
        if token.text in words.ORDERS:
            order = words.ORDERS[token.text]
            break
    if order is None:
        for token in reversed(clause[:position]):
            if token.kind == "number":
                break
            if token.text in words.ORDERS:
                order = words.ORDERS[token.text]
                break
    for curve in curves:
        for course in curve.courses:
            if course.order != order:
                continue
            if lists(clause, {"end", "finally"}):
                yield getattr(course, quantity)[-1]
            else:
                yield getattr(course, f"area_{quantity}")


def _counted(clause: Clause, position: int, scope: Scope) -> Iterator[float]:
    """Yield how many channels are concepts, or how many there are."""
    layers, curves = scope.layers(clause), scope.curves(clause)
    if lists(clause, words.SPEAKS | words.FOR | words.AGAINST):
        against = bool(lists(clause, words.AGAINST)) != bool(lists(clause, words.NEGATIONS))
        side = "against" if against else "for"
        named = {token.names.layer for token in clause if token.kind == "name"} - {None}
        among = [one for one in scope.evidence.concepts if not named or one.layer in named]
        yield sum(one.direction == side for one in among)
        return
    everything = text_at(clause, position - 1) == "of" or (
        bool(lists(clause, {"has"})) and text_at(clause, position + 1) != "of"
    )
    yield from (layer.channels if everything else layer.chosen for layer in layers)
    yield from (len(curve.courses[0].logit) - 1 for curve in curves)
    if not layers and not curves:
        yield len(scope.evidence.concepts)


def _check_fraction(
    clause: Clause, position: int, token: Token, state: State, scope: Scope
) -> None:
    """Half, a third, two thirds, a quarter, three quarters."""
    if token.text == "half" and lists(clause, {"heat", "mass"}):
        scope.claim(True, "")  # regions hold half of the map by definition
        return
    if token.text == "third" and text_at(clause, position - 1) != "a":
        return  # an ordinal
    base = {"thirds": 2 / 3, "quarters": 3 / 4}.get(token.text) or words.FRACTIONS[token.text]
    quantity = find_quantity(clause, position, scope, state)
    values = _values(quantity or "", clause, position, state, scope)
    holds = any(abs(abs(value) - base) <= FRACTION_TOLERANCE for value in values)
    scope.claim(holds, f"it is not {token.text}")


_OF_THE_REST: Mapping[str, Callable[[Clause, Scope], list[float]]] = {
    "coverage": lambda clause, scope: (
        [sum(abs(one.share) for one in scope.concepts(clause))]
        if scope.concepts(clause)
        else [one.coverage for one in scope.layers(clause)]
    ),
    "draws": lambda clause, scope: [
        course.draws for curve in scope.curves(clause) for course in curve.courses
    ],
    "overlap": lambda clause, scope: [
        one.overlap
        for one in scope.evidence.overlaps
        if one.id in scope.cited
        and {concept.id for concept in scope.concepts(clause)} <= {one.first, one.second}
    ],
    "arrives": lambda clause, scope: [
        value for one in scope.layers(clause) for value in (one.relevance, one.conserved)
    ],
}


def _bound(clause: Clause, position: int) -> str | None:
    """Return whether a number is said to be exceeded or not reached."""
    if text_at(clause, position - 1) != "than":
        return None
    said = lists(clause[: position - 1], words.MORE | words.LESS)
    if not said:
        return None
    return "more" if said[-1].text in words.MORE else "less"


def _subjects(clause: Clause, position: int, state: State, scope: Scope) -> list[Concept]:
    """Return the concepts that a number belongs to: the last named before it, or after it."""
    name = last_name(clause, position, lambda t: bool(scope.only_cited(t.names.concepts)))
    if name is not None:
        return scope.only_cited(name.names.concepts)
    return state.concepts


def _guesses(clause: Clause, position: int, state: State, scope: Scope) -> Iterable[Guess]:
    name = last_name(clause, position, lambda t: bool(t.names.guesses))
    if name is not None:
        return name.names.guesses
    if state.guesses:
        return state.guesses[-1:]
    return [scope.evidence.target] if "target" in scope.cited else scope.evidence.prediction[:1]
