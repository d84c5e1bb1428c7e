"""What is right to make of an answer, and the answer that most shapes of the corpus are made of."""

from dataclasses import dataclass

from atlas import prompts

D = "Stripes of red on white."
GOOD = '{"name": "red stripes", "description": "Stripes of red on white.", "confidence": 0.9}'
PROMPT = prompts.naming("patches", "dimmed", "separate", 9, 3).text
FORM = next(line for line in PROMPT.splitlines() if line.startswith('{"name": one to'))
EXAMPLES = PROMPT.splitlines()[-2:]

ANY = "*"


@dataclass(frozen=True)
class Outcome:
    """Status, and the parts that count; the reason needs to hold `problem`."""

    status: str
    name: str | None = None
    description: str | None = ANY
    confidence: float | str | None = ANY
    problem: str | None = None

    def fits(self, answer) -> bool:
        return (
            (self.status in (ANY, answer.status))
            and (self.name in (ANY, answer.name))
            and (self.description in (ANY, answer.description))
            and (self.confidence in (ANY, answer.confidence))
            and (answer.problem is None if self.problem is None else self.problem in answer.problem)
        )


def named(name="red stripes", description=D, confidence=0.9) -> Outcome:
    """A name; a full stop at the end of a description is not kept."""
    return Outcome("named", name, description and description.rstrip("."), confidence)


def none(description=ANY, confidence=ANY) -> Outcome:
    return Outcome(
        "no clear concept",
        None,
        description and description.rstrip("."),
        confidence,
    )


def bad(problem="") -> Outcome:
    """An answer that cannot be used, for the reason given."""
    return Outcome("unnamed", None, None, None, problem)


def cut(problem="cut off") -> Outcome:
    return bad(problem)


def sure(confidence: str) -> str:
    """The answer with another confidence."""
    return GOOD.replace("0.9", confidence)


class Anything(Outcome):
    """Any outcome will do, so long as no part of the form is in the name."""

    def fits(self, answer) -> bool:
        parts = ("description", "confidence", "{", "}", '"', "＂")
        return answer.name is None or not any(part in answer.name for part in parts)


ANYTHING = Anything(ANY)
