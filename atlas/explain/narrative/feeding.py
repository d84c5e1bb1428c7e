"""Claims about the flow: which lower channel feeds which concept."""

from atlas.explain.narrative.reading import Clause, Token
from atlas.explain.narrative.scope import Scope, lists


def feeding(clause: Clause, scope: Scope, position: int | None = None) -> list[float] | None:
    """Return the shares that a clause can speak of.

    Parameters
    ----------
    clause : Clause
        Such as "24 % of what feeds A passes through B", "A is fed by B", "B feeds A".
    scope : Scope
        What the sentence cites.
    position : int, optional
        Of a number: only what is said of the name before it, if several channels are named.

    Returns
    -------
    list of float or None
        Empty if what is said to feed a concept does not; None if nothing of the kind is said.
    """
    if not scope.flows() or not lists(clause, {"feeds", "feed", "fed", "passes", "through"}):
        return None
    places = [i for i, token in enumerate(clause) if token.kind == "name"]
    verb = next((i for i, t in enumerate(clause) if t.text in ("feeds", "feed", "fed")), None)
    through = next((i for i, t in enumerate(clause) if t.text in ("through", "by", "via")), None)
    upper: int | None = None
    lower: list[int] = []
    if verb is not None and clause[verb].text == "fed":  # A is fed by B and C
        upper, lower = _last(places, verb), [place for place in places if place > verb]
    elif verb is not None:  # what feeds A passes through B; B and C feed A
        upper = _first(places, verb)
        lower = [p for p in places if (p > through if through else p < verb)]
    if upper is None or not lower or upper in lower:
        return []
    own = [place for place in lower if position is not None and place < position][-1:]
    found = [_shares(clause[upper], clause[place], scope) for place in own or lower]
    return [share for shares in found for share in shares] if all(found) else []


def check_feeding(clause: Clause, scope: Scope) -> None:
    """Compare what is said to feed a concept with the cited flow."""
    found = feeding(clause, scope)
    if found is not None:
        scope.claim(bool(found), "that is not how the relevance flows")


def _shares(upper: Token, lower: Token, scope: Scope) -> list[float]:
    concepts = {one.id for one in upper.names.concepts}
    return [
        feed.share
        for flow in scope.flows()
        for feed in flow.feeds
        if flow.concept in concepts and feed.address in lower.names.channels
    ]


def _first(places: list[int], start: int | None) -> int | None:
    return next((place for place in places if start is not None and place > start), None)


def _last(places: list[int], stop: int) -> int | None:
    return next((place for place in reversed(places) if place < stop), None)
