"""The page "How far maps hold": the figures of an audit as bars and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.output import Tree
from atlas.site.writer import PageWriter
from atlas.store import audit
from atlas.store.audit import FILE, Audit, Figure, Measure

PAGE = "audit.html"

BAR = 300
"""Width of the longest bar."""

ROW = 30
"""Height of a bar with its label."""

CONTROLS = ("random", "centre", "edges")


@dataclass(frozen=True)
class FigureBar:
    """One map's figure in the drawing of a measure."""

    title: str
    control: bool
    y: int
    width: float
    line: tuple[float, float] | None
    """Where its interval begins and ends."""
    figure: Figure


@dataclass(frozen=True)
class BarChart:
    """One measure with a bar for each map."""

    measure: Measure
    better: str
    bars: Sequence[FigureBar]
    height: int


def found(catalogue: Catalogue) -> Audit | None:
    """Return the audit of an atlas; None where there is none, or one of an earlier state of it."""
    known = audit.read(catalogue.store.root)
    if known is not None and known.atlas != catalogue.manifest["id"]:
        tqdm.write(f"{FILE} is of an earlier state of the atlas and has no page: run `atlas audit`")
        return None
    return known


def write(known: Audit | None, tree: Tree, writer: PageWriter, citing: Citing) -> None:
    """Write the page and the file; nothing for an atlas without an audit."""
    if known is None:
        return
    tree.write(FILE, audit.text(known))
    charts = [_chart(known, measure) for measure in known.measured]
    writer.page(
        PAGE,
        PAGE,
        "How far maps hold",
        "How far maps of what an answer rests on hold, measured on the atlas's own pictures.",
        meta=citing.meta("How far maps hold", PAGE),
        audit=known,
        titles=audit.TITLES,
        controls=CONTROLS,
        measured_controls=[
            audit.TITLES[one].removeprefix("Control: ") for one in known.maps if one in CONTROLS
        ],
        intervals=any(bar.line for chart in charts for bar in chart.bars),
        charts=charts,
        width=BAR,
    )


def _chart(known: Audit, measure: Measure) -> BarChart:
    """Return the drawing of one measure; a measure without an end goes to its largest figure."""
    figures = [one for map_ in known.maps if (one := known.figure(map_, measure))]
    facts = known.measures[measure]
    most = facts.high or max(one.high or one.mean for one in figures) or 1.0
    bars = []
    for place, one in enumerate(figures):
        ends = one.low is not None and one.high is not None
        line = (BAR * (one.low or 0) / most, BAR * (one.high or 0) / most) if ends else None
        bars.append(FigureBar(
            audit.TITLES[one.map], one.map in CONTROLS, place * ROW,
            round(max(BAR * one.mean / most, 0.5), 1),
            line and (round(line[0], 1), round(line[1], 1)), one,
        ))  # fmt: skip
    return BarChart(measure, facts.better, bars, ROW * len(figures))
