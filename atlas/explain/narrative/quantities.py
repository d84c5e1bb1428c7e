"""What a number in a sentence is a number of."""

from collections.abc import Callable

from atlas.explain.narrative import lexicon as words
from atlas.explain.narrative.reading import Clause, Token
from atlas.explain.narrative.scope import Scope, State, lists

COUNTED = ("channels", "draws", "pictures", "layers")
"""What stands behind its number."""


def find_quantity(clause: Clause, position: int, scope: Scope, state: State) -> str | None:
    """Return what the nearest word for a quantity says; None if that is nothing measured.

    Parameters
    ----------
    clause : Clause
        With the number at `position`.
    position : int
        A place in it.
    scope : Scope
        What the sentence cites.
    state : State
        What it has been speaking of.
    """
    joined = text_at(clause, position + 1) in ("of", "to")
    of_what = clause[position + 2 : position + 4] if joined else ()
    if lists(of_what, {"probability", "logit"}):
        return None  # a part of a probability is nothing that is measured
    found = [
        (abs(at - position), at > position, quantity)
        for at in range(len(clause))
        if (quantity := _said(clause, at, scope)) and _belongs(quantity, clause, at, position)
    ]
    counted = [one for one in found if one[2] in COUNTED]
    if counted and not clause[position].per_cent:
        return min(counted)[2]
    found = [one for one in found if one not in counted]
    if found:
        quantity = min(found)[2]
        numbers = [token for token in clause if token.kind == "number"]
        usually = lists(clause, {"usually", "typically", "normally"}) and len(numbers) == 1
        return "usual" if quantity == "share" and usually else quantity
    return "logit" if scope.curves(clause) else _unsaid(clause, position, scope, state)


def _said(clause: Clause, at: int, scope: Scope) -> str | None:
    """Return the quantity that the word at a place stands for."""
    token, before = clause[at], text_at(clause, at - 1)
    if token.kind != "word" or token.text not in words.QUANTITIES:
        return None
    if (
        (token.text == "relevance" and scope.curves(clause))  # there it is an order
        or (token.text == "average" and before != "on")
        or (token.text == "through" and not scope.flows())
        or (token.text == "together" and not lists(clause, {"hold", "holds", "cover"}))
    ):
        return None
    quantity = words.QUANTITIES[token.text]
    return "usual" if quantity == "share" and before in ("usual", "average", "normal") else quantity


def _belongs(quantity: str, clause: Clause, at: int, position: int) -> bool:
    """Tell whether a word for a quantity can belong to the number at a position."""
    if at < position:
        return quantity not in COUNTED
    numbers = [i for i in range(position + 1, at) if clause[i].kind == "number"]
    if quantity in COUNTED:  # behind its number, or behind "8 of 512"
        return all(text_at(clause, i - 1) == "of" for i in numbers)
    return not numbers and not lists(clause[position + 1 : at], {"and"})


def _unsaid(clause: Clause, position: int, scope: Scope, state: State) -> str | None:
    """Return the quantity of a number without a word for it: that of whose it is."""
    name = last_name(clause, position)
    if name is not None and scope.only_cited(name.names.concepts):
        return "share"
    if (name is not None and name.names.guesses) or scope.cited & {"prediction", "target"}:
        return "probability"
    return "share" if state.concepts else None


def last_name(
    clause: Clause, position: int, fits: Callable[[Token], bool] = lambda _: True
) -> Token | None:
    """Return the last name before a place, or the first behind it."""
    before = [t for t in clause[:position] if t.kind == "name" and fits(t)]
    if before:
        return before[-1]
    after = [t for t in clause[position:] if t.kind == "name" and fits(t)]
    return after[0] if after else None


def text_at(clause: Clause, position: int) -> str:
    """Return the word at a place; nothing outside of the clause."""
    return clause[position].text if 0 <= position < len(clause) else ""
