"""`atlas lookup` and `atlas show`: what a channel means, and which channels mean something."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.cli import factor_facts
from atlas.cli.group import atlas_argument, main, trust_option
from atlas.cli.table import TableColumn, print_table

if TYPE_CHECKING:
    from atlas.api.atlas import Atlas
    from atlas.api.contents import Channel
    from atlas.lookup import Hit

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.command()
@atlas_argument
@click.argument("query", nargs=-1)
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="Find channels whose patches look like this picture.",
)
@click.option(
    "-n",
    "count",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many channels to print at most.",
)
@click.option("--layer", help="Only channels of this layer.")
@click.option(
    "--class", "label", metavar="CLASS", help="Only channels with this class among their top ones."
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Least average precision of the name, as `atlas score` finds it.",
)
@click.option(
    "--encoder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of a model of sentence-transformers, to search by meaning in its languages too; "
    "needs the extra `meaning`.",
)
@json_option
@trust_option
def lookup(
    atlas_dir: Path,
    query: tuple[str, ...],
    image: Path | None,
    count: int,
    layer: str | None,
    label: str | None,
    min_score: float | None,
    encoder: Path | None,
    as_json: bool,
    *,
    trust_code: bool,
) -> None:
    """Find channels of ATLAS by an address, by words or by a picture.

    Addresses may be written in any form (`features.40:49`, `features.40/49`, `channel 49`,
    `layer 13`). Words are looked for in names, senses, descriptions, top classes and layers: whole
    words first, then beginnings, then inside of words; plurals, word forms and misspellings are
    understood. The search of the site finds the same.
    """
    import atlas  # noqa: PLC0415
    from atlas.errors import UserError  # noqa: PLC0415

    a = atlas.open(atlas_dir, trust_code=trust_code)
    if image is not None:
        if query:
            raise UserError("give words or --image, not both")
        hits = a.search_picture(image, count, layer=layer, label=label, min_score=min_score)
    else:
        words = " ".join(query)
        hits = a.search(
            words, count, layer=layer, label=label, min_score=min_score, encoder=encoder
        )
        if hits and hits[0].remark:
            click.echo(hits[0].remark, err=True)
        if not a.named and not (hits and hits[0].kind in ("address", "layer")):
            click.echo(
                "No channel has a name yet (`atlas name` gives them): searched among top classes.",
                err=True,
            )
    if as_json:
        click.echo(json.dumps([hit.as_dict() for hit in hits], indent=2))
    elif hits:
        _print_hits(hits, a)
    else:
        lines = a.missing(" ".join(query)) if query and encoder is None else []
        click.echo(" · ".join(lines) or "Nothing was found.", err=True)


@main.command()
@atlas_argument
@click.argument("address", metavar="LAYER:CHANNEL")
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw the references into this picture file (.png, .jpg or .webp).",
)
@json_option
def show(atlas_dir: Path, address: str, sheet: Path | None, as_json: bool) -> None:
    """Print everything that is known about one channel of ATLAS, or one factor.

    Of a factor also its energy and stability, the channels with the largest numbers in its
    direction, and what all factors of its layer hold of that.
    """
    import atlas  # noqa: PLC0415

    a = atlas.open(atlas_dir)
    channel = a[address]
    if sheet is not None:
        from atlas.publishing.sheet import save  # noqa: PLC0415

        save(channel, a.modes, sheet)
    if as_json:
        references = [r.as_dict() for mode in a.modes for r in channel.references(mode)]
        neighbours = [
            {"address": other.address, "name": other.name, "similarity": similarity}
            for other, similarity in channel.neighbours()
        ]
        bands = [one.as_dict() for several in channel.bands().values() for one in several]
        values = {
            **channel.as_dict(), "made_of": _shares(channel.made_of()),
            "held_back_by": _shares(channel.held_back_by()),
            "goes_into": _shares(channel.goes_into()),
            "goes_into_classes": [
                {"class": name, "share": share} for name, share in channel.goes_into_classes()
            ],
            "neighbours": neighbours, "references": references, "bands": bands,
        }  # fmt: skip
        values["part_of"] = _shares(factor_facts.part_of(channel, a), "number")
        if channel.layer in a.bases:
            values["factor"] = factor_facts.values(channel, a)
        click.echo(json.dumps(values, indent=2))
    else:
        _print_channel(channel, a)


def _print_hits(hits: "Sequence[Hit]", a: "Atlas") -> None:
    by_picture = hits[0].kind == "picture"
    columns = [
        TableColumn("channel", "address"), TableColumn("name"), TableColumn("score", "number"),
        *((TableColumn("similarity", "number"), TableColumn("patches of")) if by_picture else
          (TableColumn("found by"),)),
        TableColumn("class"),
    ]  # fmt: skip
    rows = []
    for hit in hits:
        name = called(hit.channel) if a.named else ""
        cells = [hit.channel.address, name, _rounded(hit.channel.scores.get("score_ap"))]
        if by_picture:
            cells.append(_rounded(hit.similarity))
            cells.append(", ".join(dict.fromkeys(r.predicted for r in hit.references[:3])))
        else:
            cells.append(_why(hit))
        cells.append(hit.label or next((name for name, _ in hit.channel.top_classes), ""))
        rows.append(cells)
    print_table(columns, rows)


def _print_channel(channel: "Channel", a: "Atlas") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for label, value in _facts(channel, a):
        table.add_row(label, _plain(value))
    Console(highlight=False).print(table)


def _facts(channel: "Channel", a: "Atlas") -> list[tuple[str, str]]:
    """Return what `show` prints: labels and texts."""
    from atlas.store.made import said  # noqa: PLC0415 (pydantic takes its time)

    is_factor = channel.layer in a.bases
    kind = "factor" if is_factor else "channel"
    facts = [(kind, channel.address), ("atlas", a.id), ("page", channel.permalink)]
    if channel.status is not None:
        facts.append(("name", called(channel)))
    if channel.state is not None:
        facts.append(
            ("state", f"{channel.state}: {channel.tried}" if channel.tried else channel.state)
        )
    if channel.state == "one-sided":
        facts.append(("used for", channel.used_for or "nothing in common"))
        facts.append(("fires for", channel.fires_for or "nothing in common"))
    if channel.description:
        facts.append(("description", channel.description))
    if channel.namer:
        sure = _rounded(channel.confidence)
        facts.append(("named by", f"{channel.namer}" + (f" (confidence {sure})" if sure else "")))
    for sense in channel.senses:
        share = f" ({sense.share:.0%} of the relevance references)" if sense.share else ""
        facts.append(("sense", sense.name + share))
    facts += [(f"name by {how}", name) for how, name in channel.other_names if name]
    facts += [
        (name.replace("_", " "), _rounded(value))
        for name, value in {**channel.scores, **channel.statistics}.items()
        if value is not None
    ]
    facts += [("top class", f"{name}: {share:.2%}") for name, share in channel.top_classes[:5]]
    facts += factor_facts.facts(channel, a) if is_factor else []
    facts += [
        ("part of", " ".join(filter(None, (other.address, called(other), f"{value:.2f}"))))
        for other, value in factor_facts.part_of(channel, a)[:5]
    ]
    facts += _reasons(channel)
    facts += [(f"made ({one.kind})", said(one)) for one in channel.made]
    facts += [
        ("neighbour", " ".join(filter(None, (other.address, called(other), f"{cosine:.2f}"))))
        for other, cosine in channel.neighbours()[:5]
    ]
    for mode in a.modes:
        references = channel.references(mode)
        if references:
            best = ", ".join(f"{r.key} ({r.predicted})" for r in references[:3])
            facts.append((mode, f"{len(references)} references; best: {best}"))
    return facts


def _reasons(channel: "Channel") -> list[tuple[str, str]]:
    """Return what the weights say of a channel, and what it reacts to."""
    facts = []
    if channel.by_weights:
        about = {True: "", False: " (not in its name)", None: ""}[channel.weights_agree]
        facts.append(("by weights", channel.by_weights + about))
    facts += [
        ("made of", " ".join(filter(None, (other.address, called(other), f"{share:.1%}"))))
        for other, share in channel.made_of()[:5]
    ]
    facts += [
        ("goes into", " ".join(filter(None, (other.address, called(other), f"{share:.1%}"))))
        for other, share in channel.goes_into()[:3]
    ]
    facts += [
        ("goes into", f"{name} {share:.1%}") for name, share in channel.goes_into_classes()[:3]
    ]
    if channel.reacts_to:
        facts.append(("reacts to", " and ".join(channel.reacts_to)))
    facts += [
        (f"without {kind}", f"{-drop:+.0%} activation")
        for kind, drop in channel.influence.items()
        if drop is not None
    ]
    return facts


def _shares(pairs: "Sequence[tuple[Channel, float]]", what: str = "share") -> list[dict[str, Any]]:
    return [{"address": other.address, "name": other.name, what: value} for other, value in pairs]


def called(channel: "Channel") -> str:
    """Return what a channel is called, with its senses, or why it has no name."""
    if channel.name is None:
        return f"({channel.status})" if channel.status else ""
    senses = " / ".join(sense.name for sense in channel.senses)
    return f"{channel.name} ({senses})" if senses else channel.name


def _why(hit: "Hit") -> str:
    """Say why a channel was found: the kind of match, and where, or the similarity.

    Where no text has all the words, the places that have some of them are named.
    """
    if hit.kind in ("words", "letters", "near", "some"):
        return f"{hit.kind}: {', '.join(hit.together[:1] or hit.found)}"
    return f"{hit.kind}: {_rounded(hit.similarity)}" if hit.kind == "meaning" else hit.kind


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _plain(text: str) -> Any:
    """Return a text without markup and control characters, for a terminal."""
    from rich.text import Text  # noqa: PLC0415

    from atlas.plain import plain  # noqa: PLC0415

    return Text(plain(text))
