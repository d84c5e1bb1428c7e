"""What a sentence may speak of, and what it has been speaking of so far."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from atlas.explain.narrative import lexicon as words
from atlas.explain.narrative.reading import Clause, Names, Token
from atlas.store.evidence import Concept, Curve, Effect, Evidence, Flow, Guess, Kind, LayerEvidence


def lists(tokens: Sequence[Token], wanted: Collection[str]) -> list[Token]:
    """Return the words of `tokens` that are among `wanted`."""
    return [token for token in tokens if token.kind == "word" and token.text in wanted]


def nearest(clause: Clause, position: int) -> Token | None:
    """Return the name closest to a place in a clause, the one before it first."""
    names = [(abs(i - position), i > position, i) for i, t in enumerate(clause) if t.kind == "name"]
    return clause[min(names)[2]] if names else None


def follows(clause: Clause, position: int, word: str) -> bool:
    """Tell whether `word` stands right behind a place."""
    return position + 1 < len(clause) and clause[position + 1].text == word


def followed_by(clause: Clause, token: Token, following: set[str]) -> bool:
    """Tell whether one of the words `following` stands right behind a token."""
    position = clause.index(token)
    return position + 1 < len(clause) and clause[position + 1].text in following


def preceded_by(clause: Clause, token: Token, preceding: set[str]) -> bool:
    """Tell whether one of the words `preceding` stands right before a token."""
    position = clause.index(token)
    return position > 0 and clause[position - 1].text in preceding


@dataclass
class Scope:
    """The evidence that a sentence cites; collects claims and problems."""

    evidence: Evidence
    cited: frozenset[str]
    clauses: Sequence[Clause]
    problems: list[str]
    claims: int = 0

    def claim(self, holds: bool, problem: str) -> None:
        """Count a claim, and note it if it does not hold."""
        self.claims += 1
        if not holds:
            self.problems.append(problem)

    def refuse(self, problem: str) -> None:
        """Note what cannot be checked."""
        self.claim(False, problem)

    def cites_concept(self, one: Concept) -> bool:
        """Tell whether a concept, or something about it, is cited."""
        own = {one.id, f"effect:{one.id}", f"flow:{one.id}"}
        overlaps = {o.id for o in self.evidence.overlaps if one.id in (o.first, o.second)}
        return bool(self.cited & (own | overlaps))

    def cites(self, names: Names) -> bool:
        """Tell whether one of the things that a name may stand for is cited."""
        return (
            any(map(self.cites_concept, names.concepts))
            or any(self._cites_guess(guess) for guess in names.guesses)
            or any(feed.address in names.channels for flow in self.flows() for feed in flow.feeds)
            or (names.layer is not None and names.layer in self._cited_layers())
            or (names.context is not None and names.context.id in self.cited)
        )

    def _cites_guess(self, guess: Guess) -> bool:
        if "prediction" in self.cited and guess in self.evidence.prediction:
            return True
        if "target" in self.cited and guess.label == self.evidence.target.label:
            return True
        return any(
            effect.answer == guess.label
            for effects in self.evidence.effects
            if effects.id in self.cited
            for effect in effects.effects
        )

    def _cited_layers(self) -> set[str]:
        layers = {one.layer for one in self.evidence.layers if one.id in self.cited}
        layers |= {one.layer for one in self.evidence.curves if one.id in self.cited}
        layers |= {one.layer for one in self.evidence.concepts if self.cites_concept(one)}
        return layers | {flow.layer for flow in self.flows()}

    def only_cited(self, concepts: Sequence[Concept]) -> list[Concept]:
        """Return those concepts that are cited."""
        return [one for one in concepts if self.cites_concept(one)]

    def concepts(self, tokens: Sequence[Token]) -> list[Concept]:
        """Return the cited concepts that tokens name, in their order."""
        found: list[Concept] = []
        for token in tokens:
            if token.kind == "name":
                found += [c for c in self.only_cited(token.names.concepts) if c not in found]
        return found

    def guesses(self, tokens: Sequence[Token]) -> list[Guess]:
        """Return the network's answers that tokens name."""
        return [
            guess
            for token in tokens
            if token.kind == "name" and not self.only_cited(token.names.concepts)
            for guess in token.names.guesses
        ]

    def flows(self) -> list[Flow]:
        """Return the cited flows."""
        return [flow for flow in self.evidence.flow if flow.id in self.cited]

    def layers(self, tokens: Sequence[Token]) -> list[LayerEvidence]:
        """Return the cited layers that tokens name, or all cited ones if they name none."""
        named = {t.names.layer for t in tokens if t.kind == "name" and t.names.layer}
        cited = [one for one in self.evidence.layers if one.id in self.cited]
        return [one for one in cited if not named or one.layer in named]

    def curves(self, tokens: Sequence[Token]) -> list[Curve]:
        """Return the cited curves."""
        return [curve for curve in self.evidence.curves if curve.id in self.cited]

    def cited_effect(self, one: Concept) -> bool:
        """Tell whether the effects of a concept are cited."""
        return f"effect:{one.id}" in self.cited

    def effects(self, state: "State") -> list[Effect]:
        """Return the cited effects of what is being spoken of, of the kind that is."""
        kind = state.kind or "zero"
        concepts = state.concepts or [
            one for one in self.evidence.concepts if self.cited_effect(one)
        ]
        return [self.evidence.effect(one.id, kind) for one in concepts if self.cited_effect(one)]


@dataclass(frozen=True)
class State:
    """What goes on from clause to clause."""

    concepts: list[Concept] = field(default_factory=list)
    """Spoken of last."""
    before: list[Concept] = field(default_factory=list)
    """Those of the clauses before this one."""
    guesses: list[Guess] = field(default_factory=list)
    taken: bool = False
    """Whether something has been taken away in this sentence ..."""
    kind: Kind | None = None
    """... and how."""
    quantity: str | None = None

    def after(self, clause: Clause, scope: Scope) -> "State":
        """Return the state while a clause is read, given that of the clause before."""
        kind: Kind | None = self.kind
        if lists(clause, words.ZERO):
            kind = "zero"
        elif lists(clause, words.BLUR):
            kind = "blur"
        elif lists(clause, words.MEAN) and lists(clause, {"replaced", "replacing", "set"}):
            kind = "mean"
        changes = words.ZERO | words.BLUR | words.CONDITIONS | words.FALLS | words.RISES
        taken = self.taken or bool(lists(clause, changes)) or kind is not None
        return State(
            concepts=scope.concepts(clause) or self.concepts,
            before=self.concepts,
            guesses=scope.guesses(clause) or self.guesses,
            taken=taken,
            kind=kind,
        )
