"""Tables of the command line: however narrow the terminal, no number and no address is cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NARROWEST = {"text": 8, "address": 10}
"""Characters that such columns keep; what is longer goes on in the next line."""


@dataclass(frozen=True)
class TableColumn:
    """A column of a table."""

    head: str
    kind: Literal["number", "address", "text"] = "text"
    """Numbers always stand in one line. Where there is not enough room, texts take several, the
    longest first; if that is not enough, addresses as well."""


def print_table(
    columns: Sequence[TableColumn],
    rows: Sequence[Sequence[str]],
    title: str | None = None,
    *,
    total: bool = False,
) -> None:
    """Print a table.

    Parameters
    ----------
    columns : sequence of TableColumn
        What stands in it, from left to right; those without any text in `rows` are left out.
    rows : sequence of sequence of str
        For each row a text for each column; in columns of numbers it may have several lines.
    title : str, optional
        Stands above it.
    total : bool
        Whether the last row sums up the others, and a line is drawn above it.
    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    filled = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    shown = [columns[at] for at in filled]
    texts = [[Text(_printable(row[at], columns[at])) for at in filled] for row in rows]
    natural = [
        max(_head_width(column), *(line.cell_len for row in texts for line in row[at].split()))
        for at, column in enumerate(shown)
    ]
    pad = 1 if sum(natural) + 3 * (len(shown) - 1) <= console.width else 0
    room = console.width - (2 * pad + 1) * (len(shown) - 1)
    widths = fitted(natural, [column.kind for column in shown], room)
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, pad), title=title,
        title_justify="left",
    )  # fmt: skip
    for column, width in zip(shown, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.kind == "number" else "left"
        table.add_column(column.head, width=width, overflow="fold", justify=justify)
    for at, row in enumerate(texts):
        table.add_row(*row, end_section=total and at == len(texts) - 2)
    needed = sum(widths) + (2 * pad + 1) * (len(shown) - 1)
    if needed > console.width:
        console = Console(highlight=False, width=needed)
    console.print(table)


def fitted(natural: Sequence[int], kinds: Sequence[str], room: int) -> list[int]:
    """Return the widths of columns that share some room: as wide as they are, if that fits.

    Else the widest texts become narrower, and then the widest addresses. Numbers stay as they are,
    though all together be wider than the room.
    """
    widths = list(natural)
    for kind in ("text", "address"):
        while sum(widths) > room:
            wide = [
                at for at, own in enumerate(kinds) if own == kind and widths[at] > NARROWEST[kind]
            ]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _printable(text: str, column: TableColumn) -> str:
    """Return a text without control characters: only our own numbers may break lines."""
    from atlas.plain import plain  # noqa: PLC0415

    lines = text.split("\n") if column.kind == "number" else [text]
    return "\n".join(map(plain, lines))


def _head_width(column: TableColumn) -> int:
    """Return the room that a column's head needs: over numbers it may take several lines."""
    if column.kind != "number":
        return len(column.head)
    return max(map(len, column.head.split()))
