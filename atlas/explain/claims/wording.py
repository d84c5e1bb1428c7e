"""How names and numbers of the evidence are written, and the slots that they fill."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from atlas.plain import plain, shortened
from atlas.store.claims import Audience, Claim, Slot, SlotKind, Wording
from atlas.store.counterfactual import ConceptStep
from atlas.store.evidence import Concept, Difference, Evidence, Feed

Named = Concept | Feed | Difference | ConceptStep

_MARKS = {ord(mark): "’" for mark in '“”"„‟'}


@dataclass(frozen=True)
class Speaker:
    """Writes the evidence's names for one audience."""

    evidence: Evidence
    audience: Audience

    def concept(self, key: str, one: Named) -> Slot:
        """Return what a channel is called: by its name, for experts with its address.

        Everyone reads the address too where another concept of the layer has the same name.
        """
        id_ = one.id if isinstance(one, Concept) else one.concept or one.address
        return Slot(key, "concept", self._called(one), f"{id_} name")

    def target(self) -> tuple[str, tuple[Slot, ...]]:
        """Return how the explained class is called: this answer, or by its name if it is none."""
        target, first = self.evidence.target, self.evidence.prediction[0]
        if target.label == first.label and not self.evidence.undecided:
            return "this answer", ()
        return "{class}", (a_class("class", target.name, "target name"),)

    def _called(self, one: Named) -> str:
        if not one.name:
            return one.address
        name = quoted(one.name)
        others = [c for c in self.evidence.of_layer(one.layer) if c.address != one.address]
        if self.audience == "expert" or any(quoted(c.name or "") == name for c in others):
            return f"{name} ({one.address})"
        return name


def claim(
    kind: str,
    about: str,
    evidence: Iterable[str],
    weight: float,
    everyone: Wording | None,
    expert: Wording | None,
    obligatory: tuple[Audience, ...] = (),
    *,
    caveat: bool = False,
) -> Claim:
    """Return a claim; `about` tells it from others of its kind."""
    pairs: tuple[tuple[Audience, Wording | None], ...] = (("everyone", everyone),
                                                          ("expert", expert))  # fmt: skip
    wordings = {audience: wording for audience, wording in pairs if wording is not None}
    bound = tuple(audience for audience in obligatory if audience in wordings)
    ids = tuple(dict.fromkeys(evidence))
    name = f"{kind}:{about}" if about else kind
    return Claim(name, kind, ids, round(min(max(weight, 0.0), 1.0), 3), bound, caveat, wordings)


def say(text: str, *slots: Slot, joined: str | None = None) -> Wording:
    """Return a wording with those of some slots that its text has."""
    return Wording(text, tuple(one for one in slots if f"{{{one.key}}}" in text), joined)


def a_class(key: str, name: str, source: str) -> Slot:
    """Return a slot for a class."""
    return Slot(key, "class", quoted(name), source)


def number(
    kind: SlotKind, key: str, value: float, source: str, write: Callable[[float], str]
) -> Slot:
    """Return a slot for a number."""
    return Slot(key, kind, write(value), source)


def share(key: str, value: float, source: str) -> Slot:
    """Return a slot for a part of a whole; its sign is for the sentence to say."""
    return number("share", key, value, source, percent)


def chance(key: str, value: float, source: str) -> Slot:
    """Return a slot for a probability."""
    return number("probability", key, value, source, probability)


def logit(key: str, value: float, source: str) -> Slot:
    """Return a slot for a logit, or for relevance, which is a part of one."""
    return number("logit", key, value, source, lambda one: digits(one, 3))


def count(key: str, value: int, source: str) -> Slot:
    """Return a slot for a count."""
    return number("count", key, value, source, lambda one: f"{one:.0f}")


def layer(key: str, name: str) -> Slot:
    """Return a slot for a layer."""
    return Slot(key, "layer", plain(name), f"layer:{name} layer")


def listing(
    speaker: Speaker, items: Sequence[Named], key: str = "concept"
) -> tuple[str, list[Slot]]:
    """Return placeholders for several concepts, `{concept1} and {concept2}`, and their slots."""
    slots = [speaker.concept(f"{key}{n}", one) for n, one in enumerate(items, 1)]
    return listed([f"{{{slot.key}}}" for slot in slots]), slots


def quoted(name: str) -> str:
    """Return a name in quotation marks: on one line, without any inside, the longest cut."""
    return quotation(shortened(name))


def quotation(text: str) -> str:
    """Return a text in quotation marks, on one line and without any inside."""
    return f"“{plain(text).translate(_MARKS)}”"


def percent(value: float) -> str:
    """Return a share without its sign, with two significant digits: `12 %`, `0.034 %`.

    What is not the whole is not rounded to it.
    """
    size = abs(value)
    return probability(size) if 0.99 <= size < 1 else f"{digits(size * 100, 2)} %"


def digits(value: float, many: int) -> str:
    """Return a number with so many significant digits, at least all before the point."""
    if value == 0:
        return "0"
    exponent = int(f"{abs(value):e}".split("e")[1])
    text = f"{value:.{min(max(0, many - 1 - exponent), 9)}f}"
    return text.replace("-", "−") if float(text) else "0"


def probability(value: float) -> str:
    """Return a probability in per cent that is not rounded to certainty."""
    if value >= 0.9995:
        return "more than 99.9 %"
    if value < 0.0005:
        return "less than 0.05 %"
    if value >= 0.99:
        return f"{value * 100:.1f} %"
    return f"{digits(value * 100, 2)} %"


def listed(items: Sequence[str], word: str = "and") -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"
