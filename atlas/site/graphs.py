"""The two figures of an explanation as coordinates: intervention curves and the flow graph."""

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.store.evidence import Curve, Evidence

WIDTH, HEIGHT = 240.0, 110.0
"""Size of a curve's plot, in units of its drawing."""

COLUMN, ROW = 260.0, 44.0
"""Distances in the flow graph: from layer to layer, and from channel to channel."""

NODE = 150.0
"""Width of a channel in the flow graph."""


@dataclass(frozen=True)
class Line:
    """The logit after each step of an intervention, in one order of the channels."""

    order: str
    points: str
    """For an SVG polyline."""
    before: float
    after: float
    area: float


@dataclass(frozen=True)
class Plot:
    """An intervention on a layer, in every order."""

    curve: Curve
    lines: tuple[Line, ...]
    low: float
    high: float
    steps: int


@dataclass(frozen=True)
class Node:
    """A channel in the flow graph."""

    address: str
    x: float
    y: float
    concept: str | None


@dataclass(frozen=True)
class Edge:
    """The relevance that passes between a concept and a channel of a lower layer."""

    path: str
    width: float
    share: float
    lower: str
    upper: str


@dataclass(frozen=True)
class Graph:
    """Channels in columns, the lowest layer on the left."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float


def plot(curve: Curve) -> Plot:
    """Return the logits of an intervention's courses as lines in `WIDTH` x `HEIGHT`."""
    values = [value for course in curve.courses for value in course.logit]
    low, high = min(values), max(values)
    steps = len(curve.courses[0].logit) - 1
    lines = tuple(
        Line(
            course.order,
            points(course.logit, low, high),
            course.logit[0],
            course.logit[-1],
            course.area_logit,
        )
        for course in curve.courses
    )
    return Plot(curve, lines, low, high, steps)


def points(values: Sequence[float], low: float, high: float) -> str:
    """Return values over equal steps as points of a line in `WIDTH` x `HEIGHT`."""
    across = WIDTH / max(len(values) - 1, 1)
    down = HEIGHT / ((high - low) or 1.0)
    return " ".join(f"{i * across:.1f},{(high - v) * down:.1f}" for i, v in enumerate(values))


def graph(evidence: Evidence) -> Graph | None:
    """Return the flow of relevance between concepts; None where none was measured."""
    if not any(flow.feeds for flow in evidence.flow):
        return None
    ids = {one.address: one.id for one in evidence.concepts}
    columns: list[list[str]] = []
    for layer in evidence.layers:
        own = [one.address for one in evidence.concepts if one.layer == layer.layer]
        fed = [f.address for flow in evidence.flow if flow.layer == layer.layer for f in flow.feeds]
        columns.append(list(dict.fromkeys([*own, *fed])))
    tallest = max(map(len, columns))
    places: dict[str, Node] = {}
    for number, column in enumerate(columns):
        offset = (tallest - len(column)) * ROW / 2
        for row, address in enumerate(column):
            places[address] = Node(address, number * COLUMN, offset + row * ROW, ids.get(address))
    addresses = {one.id: one.address for one in evidence.concepts}
    edges = [
        _edge(places[feed.address], places[addresses[flow.concept]], feed.share)
        for flow in evidence.flow
        for feed in flow.feeds
    ]
    width = (len(columns) - 1) * COLUMN + NODE
    return Graph(tuple(places.values()), tuple(edges), width, tallest * ROW)


def _edge(lower: Node, upper: Node, share: float) -> Edge:
    x0, y0, x1, y1 = lower.x + NODE, lower.y + ROW / 2, upper.x, upper.y + ROW / 2
    middle = (x0 + x1) / 2
    path = f"M{x0:.0f} {y0:.0f}C{middle:.0f} {y0:.0f} {middle:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"
    return Edge(path, round(1 + 14 * abs(share), 1), share, lower.address, upper.address)
