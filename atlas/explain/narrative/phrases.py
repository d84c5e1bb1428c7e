"""How names and numbers are written in a narrative."""

from atlas.store.evidence import Concept


def quoted(name: str) -> str:
    """Return a name in quotation marks, on one line and without any inside."""
    plain = " ".join(name.split()).translate({ord(mark): "’" for mark in '“”"„‟'})
    return f"“{plain}”"


def called(concept: Concept) -> str:
    """Return how an expert's text calls a concept: its name with its address."""
    return f"{quoted(concept.name)} ({concept.address})" if concept.name else concept.address


def percent(share: float) -> str:
    """Return a share without its sign, with two significant digits: `12 %`, `0.034 %`."""
    return f"{digits(abs(share) * 100, 2)} %"


def digits(value: float, count: int) -> str:
    """Return a number with `count` significant digits, at least all before the point."""
    if value == 0:
        return "0"
    exponent = int(f"{abs(value):e}".split("e")[1])
    places = max(0, count - 1 - exponent)
    text = f"{value:.{min(places, 9)}f}"
    return text.replace("-", "−")


def probability(value: float) -> str:
    """Return a probability in per cent that is not rounded to certainty."""
    if value >= 0.9995:
        return "more than 99.9 %"
    if value < 0.0005:
        return "less than 0.1 %"
    if value >= 0.99:
        return f"{value * 100:.1f} %"
    return percent(value)


def listed(items: list[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
