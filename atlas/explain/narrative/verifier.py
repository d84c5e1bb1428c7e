"""Whether the evidence holds what a sentence says.

A sentence is read as claims: what it names, how much, in which order and direction, where, and
what would change. Each is compared with the evidence that the sentence cites; what cannot be
compared is refused as well. So the verifier may refuse a true sentence that is worded unusually,
but it should pass no false one.
"""

from dataclasses import dataclass

from atlas.explain.narrative import lexicon as words
from atlas.explain.narrative.causes import check_answers, check_causes, check_certainty
from atlas.explain.narrative.feeding import check_feeding, feeding
from atlas.explain.narrative.numbers import check_numbers
from atlas.explain.narrative.ranking import check_comparisons, check_orders
from atlas.explain.narrative.reading import Clause, known_names, read
from atlas.explain.narrative.scope import Scope, State, follows, lists
from atlas.explain.narrative.sides import check_directions, check_habits, check_places
from atlas.store.evidence import Evidence
from atlas.store.narrative import Sentence


@dataclass(frozen=True)
class Verdict:
    """What was checked, and what is wrong."""

    claims: int
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(sentence: Sentence, evidence: Evidence) -> Verdict:
    """Check one sentence.

    Parameters
    ----------
    sentence : Sentence
        With the ids of what it rests on.
    evidence : Evidence
        All there is.
    """
    for doubt in evidence.doubts:
        if doubt.id in sentence.evidence and sentence.text == doubt.text:
            return Verdict(1, ())
    problems = [f"there is no evidence {one!r}" for one in sentence.evidence
                if one not in evidence.ids]  # fmt: skip
    if not sentence.evidence:
        problems.append("it cites no evidence")
    if problems:
        return Verdict(len(problems), tuple(problems))
    clauses, unread = read(sentence.text, known_names(evidence))
    scope = Scope(evidence, frozenset(sentence.evidence), clauses, unread)
    state = State()
    for clause in clauses:
        state = state.after(clause, scope)
        _check_names(clause, state, scope)
        _check_negations(clause, scope)
        check_directions(clause, state, scope)
        check_orders(clause, state, scope)
        check_comparisons(clause, state, scope)
        check_places(clause, state, scope)
        check_habits(clause, state, scope)
        check_certainty(clause, state, scope)
        check_answers(clause, state, scope)
        check_causes(clause, state, scope)
        check_feeding(clause, scope)
        check_numbers(clause, state, scope)
    return Verdict(max(scope.claims, len(scope.problems)), tuple(dict.fromkeys(scope.problems)))


def _check_names(clause: Clause, state: State, scope: Scope) -> None:
    """Check that everything that is named is cited."""
    for token in clause:
        if token.kind == "name":
            scope.claim(scope.cites(token.names), f"“{token.text}” is not in what is cited")
        if token.names.context is not None:
            own = [one.id for one in scope.concepts(clause)]
            said = lists(clause, {"describes", "described"}) and own == [
                token.names.context.concept
            ]
            scope.claim(bool(said), f"“{token.text}” is only what a model says of one concept")
        named_otherwise = token.names.guesses or scope.only_cited(token.names.concepts)
        if token.names.channels and not named_otherwise:
            flows = feeding(clause, scope) is not None
            scope.claim(flows, f"of “{token.text}” it is known only what it feeds")
    for position, token in enumerate(clause):
        if token.text == "after" and not follows(clause, position, "another"):
            scope.refuse("'after' cannot be checked")
        if token.text in ("comes", "come") and not lists(clause, words.ORDINALS):
            scope.refuse(f"{token.text!r} cannot be checked")
    related = (
        words.SPEAKS | words.FOR | words.AGAINST | words.TYPICAL | words.UNTYPICAL | words.TAKES
        | words.REASONS | words.QUANTITIES.keys()
    )  # fmt: skip
    if scope.concepts(clause) and scope.guesses(clause):
        holds = state.taken or bool(lists(clause, related))
        scope.claim(holds, "how a concept and a class belong together cannot be checked")
    if lists(clause, {"name", "names", "named"}) and len(scope.concepts(clause)) > 1:
        scope.refuse("names cannot be compared")
    _check_layers(clause, scope)
    if lists(clause, {"unnamed", "nameless"}) or (
        lists(clause, {"no"}) and lists(clause, {"name", "names"})
    ):
        mentioned = scope.concepts(clause) or state.concepts
        unnamed = all(one.name is None for one in mentioned)
        scope.claim(unnamed and bool(mentioned), "what is said to have no name has one")


def _check_layers(clause: Clause, scope: Scope) -> None:
    """Compare the layers that concepts are said to be of with theirs."""
    layers = {token.names.layer for token in clause if token.kind == "name"} - {None}
    if layers and not scope.flows():
        for one in scope.concepts(clause):
            scope.claim(one.layer in layers, f"{one.address} is of another layer")
    for name, link, other in zip(clause, clause[1:], clause[2:], strict=False):
        if link.text in ("of", "in", "from", "at") and other.names.layer and name.names.concepts:
            own = {concept.layer for concept in scope.only_cited(name.names.concepts)}
            scope.claim(other.names.layer in own, f"“{name.text}” is of another layer")


def _check_negations(clause: Clause, scope: Scope) -> None:
    """Refuse a negation that denies nothing that is checked."""
    denied = lists(clause, words.NEGATIONS)
    checked = (
        words.AGAINST | words.FOR | words.SPEAKS | words.TYPICAL | words.SURE
        | {"name", "names", "change", "changes"}
    )  # fmt: skip
    if denied and (len(denied) > 1 or not lists(clause, checked)):
        scope.refuse(f"{denied[0].text!r} denies something that cannot be checked")
    curves = scope.curves(clause)
    if lists(clause, {"activation"}) and not curves and not lists(clause, {"percentile"}):
        scope.refuse("of activation only the percentile can be checked")
    for position, token in enumerate(clause):
        near = clause[position + 1 : position + 3]
        if (
            token in denied
            and any(one.kind == "number" for one in near)
            and not lists(near, words.SURE)
        ):
            scope.refuse("a number that is denied cannot be checked")
        if token.text == "all" and not follows(clause, position, "over"):
            everything = lists(clause, words.AGAINST | words.SPEAKS | words.FOR)
            if not everything or scope.concepts(clause):
                scope.refuse("'all' cannot be checked here")
