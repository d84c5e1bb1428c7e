"""What notebooks show of an atlas: HTML with the pictures inside.

No script and no style sheet: colours are those of the notebook, light or dark, and lines are half
transparent grey. Every text is escaped. Sizes are bounded by `PATCHES`, `ROWS` and `LAYERS`,
whatever the atlas.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from atlas.errors import UserError
from atlas.plain import plain

if TYPE_CHECKING:
    from atlas.api.atlas import Atlas
    from atlas.api.contents import Channel
    from atlas.api.reference import Reference
    from atlas.api.results import Explained, Hits
    from atlas.store import Mode
    from atlas.store.evidence import Concept

PATCHES = 8
"""Patches of a channel for each mode."""

ROWS = 12
"""Hits of a search, and concepts of an explanation."""

LAYERS = 24
"""Layers of an atlas."""

WORDS = 300
"""Characters of a text from the atlas."""

_TILE, _SMALL, _LARGE = 88, 48, 176
"""Sides of pictures, in pixels."""

_LINE = "1px solid rgba(128,128,128,.4)"
_CELL = "text-align:left;vertical-align:top;padding:4px 12px 4px 0;color:inherit"
_QUIET = "opacity:.8"
_TITLE = "font-size:1.1em;margin:0 0 4px"

_MODES: "dict[Mode, str]" = {"relevance": "used for", "activation": "fires for"}
"""What a channel's references of a mode show."""


def atlas(shown: "Atlas") -> str:
    """Return what a notebook shows of an atlas: what was measured, and each layer."""
    manifest = shown.manifest
    named = shown.channels["name"].to_pylist() if shown.named else [None] * len(shown)
    of_layer = shown.channels["layer"].to_pylist()
    relevance = shown.channels["rel_mean"].to_pylist()
    rows = []
    for layer in shown.layers[:LAYERS]:
        mine = [row for row, name in enumerate(of_layer) if name == layer]
        mine.sort(key=lambda row: -(relevance[row] or 0))
        best = [shown.channel(row).references(shown.modes[0])[:1] for row in mine[:4]]
        count = sum(named[row] is not None for row in mine)
        rows.append(
            (
                _text(layer),
                f"{len(mine):,}",
                f"{count:,}",
                _side_by_side([found[0] for found in best if found], 40),
            )
        )
    return _box(
        f"<div style='{_TITLE}'><b>Atlas {_text(shown.id)}</b></div>"
        f"<div style='{_QUIET}'>{_text(manifest['model']['name'])} on "
        f"{_text(manifest['data']['source'])}; {len(shown):,} channels of {len(shown.layers)} "
        f"layers; {int(manifest['images']['seen']):,} pictures seen</div>"
        + _table(("layer", "channels", "named", "most relevant"), rows)
        + _left_out(len(shown.layers) - LAYERS, "layers")
    )


def channel(shown: "Channel") -> str:
    """Return what a notebook shows of a channel: its name, both rows of patches, its classes."""
    parts = [f"<div style='{_TITLE}'><code>{_text(shown.address)}</code> {_name(shown)}</div>"]
    if shown.description:
        parts.append(f"<div>{_text(shown.description)}</div>")
    if shown.senses:
        senses = ", ".join(_text(sense.name) for sense in shown.senses)
        parts.append(f"<div style='{_QUIET}'>senses: {senses}</div>")
    for mode, what in _MODES.items():
        found = shown.references(mode)
        if found:
            patches = "".join(_patch(reference, _TILE) for reference in found[:PATCHES])
            parts.append(
                f"<div style='{_QUIET};margin-top:6px'>{what} (by {mode}), {len(found)} "
                f"references</div><div>{patches}</div>"
            )
    if shown.top_classes:
        classes = ", ".join(f"{_text(name)} {share:.1%}" for name, share in shown.top_classes[:5])
        parts.append(
            f"<div style='{_QUIET};margin-top:6px'>mean share of its layer's relevance: "
            f"{classes}</div>"
        )
    return _box("".join(parts))


def reference(shown: "Reference") -> str:
    """Return what a notebook shows of a reference: the picture with its box, and the patch."""
    label = f"{_text(shown.label)}, " if shown.label is not None else ""
    try:
        picture = shown.picture()
        x0, y0, x1, y1 = shown.box
        pen = ImageDraw.Draw(picture)
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline="white", width=2)
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline="black")
        pictures = _image(picture, _LARGE, shown.key) + _patch(shown, _LARGE)
    except UserError as error:
        pictures = _missing(error)
    return _box(
        f"<div>{pictures}</div><div>{_text(shown.mode)}, rank {shown.rank}, score "
        f"{shown.score:.4g}</div><div style='{_QUIET}'>{label}seen as {_text(shown.predicted)}; "
        f"{_text(shown.key)}</div>"
    )


def hits(shown: "Hits") -> str:
    """Return what a notebook shows of what was found: a line for each channel."""
    if not shown:
        return _box("Nothing was found.")
    remark = f"<div style='{_QUIET}'>{_text(shown[0].remark)}</div>" if shown[0].remark else ""
    rows = []
    for hit in shown[:ROWS]:
        seen = hit.references or hit.channel.references(_first_mode(hit.channel))
        why = hit.kind if hit.similarity is None else f"{hit.kind} {hit.similarity:.2f}"
        where = ", ".join([*hit.found, *([hit.label] if hit.label else [])])
        rows.append(
            (
                f"<code>{_text(hit.channel.address)}</code>",
                _name(hit.channel),
                _text(why) + (f"<br><span style='{_QUIET}'>{_text(where)}</span>" if where else ""),
                _side_by_side(seen[:4], _SMALL),
            )
        )
    table = _table(("address", "name", "found by", "patches"), rows)
    return _box(remark + table + _left_out(len(shown) - ROWS, "channels"))


def explanation(shown: "Explained") -> str:
    """Return what a notebook shows of an explanation: the answer, and what it rests on."""
    target = shown.target
    try:
        picture = shown.open("picture.webp").convert("RGB")
        grey: Image.Image | None = picture.convert("L").convert("RGBA")
        image = _image(picture, _LARGE, shown.picture.name)
    except UserError as error:
        grey, image = None, _missing(error)
    rows = [_concept(shown, concept, grey) for concept in _chosen(shown)]
    head = ("where", "concept", "layer", "share", "probability without it")
    return _box(
        f"<div style='{_TITLE}'><b>{_text(target.name)}</b>, probability "
        f"{target.probability:.3f}, {_chosen_as(shown)}"
        f"</div>{image}<div style='{_QUIET}'>{_text(shown.picture.name)}; shares are of the sum of "
        "|relevance| over all channels of the layer</div>"
        + _table(head, rows)
        + _left_out(len(shown.concepts) - len(rows), "concepts")
    )


def _chosen_as(shown: "Explained") -> str:
    """Return why the explained class is explained."""
    if shown.target.chosen == "asked":
        return "asked for"
    return f"one of {shown.target.tied} that tie" if shown.undecided else "predicted"


def _chosen(shown: "Explained") -> "list[Concept]":
    """Return the first concepts of each layer, from the one nearest to the answer."""
    each = max(1, ROWS // max(1, len(shown.layers)))
    found = [one for part in reversed(shown.layers) for one in shown.of_layer(part.layer)[:each]]
    return found[:ROWS]


def _concept(
    shown: "Explained", concept: "Concept", grey: Image.Image | None
) -> tuple[str, str, str, str, str]:
    """Return the cells of a concept."""
    where = ""
    if grey is not None:
        try:
            heat = shown.open(concept.map).convert("RGBA").resize(grey.size)
            there = Image.alpha_composite(grey, heat).convert("RGB")
            where = _image(there, _TILE, f"where {concept.address} is relevant")
        except UserError as error:
            where = _missing(error)
    name = ""
    if concept.name:
        known = concept.state or "untested"
        name = f"<b>{_text(concept.name)}</b> <span style='{_QUIET}'>({known})</span><br>"
    without = shown.effect(concept.id, "zero").probability
    return (
        where,
        f"{name}<code>{_text(concept.address)}</code>",
        _text(concept.layer),
        f"{concept.share:+.1%}",
        f"{without:.3f}",
    )


def _name(shown: "Channel") -> str:
    """Return a channel's name with what is known of whether it holds."""
    if not shown.name:
        return f"<span style='{_QUIET}'>{_text(shown.status or 'nobody was asked')}</span>"
    return f"<b>{_text(shown.name)}</b> <span style='{_QUIET}'>({_state(shown)})</span>"


def _state(shown: "Channel") -> str:
    """Return the state of a channel's name in words, with its score."""
    score = shown.scores.get("score_ap")
    if score is None:
        return shown.state or "untested"
    return f"{shown.state}, average precision {score:.2f}"


def _first_mode(shown: "Channel") -> "Mode":
    """Return the mode whose references stand for a channel."""
    return "relevance" if shown.references("relevance") else "activation"


def _patch(shown: "Reference", side: int) -> str:
    """Return a patch with its caption as a tooltip."""
    label = f"{shown.label}, " if shown.label is not None else ""
    caption = f"{label}seen as {shown.predicted}: {shown.mode} {shown.score:.3g}"
    try:
        return _image(shown.patch(), side, caption)
    except UserError as error:
        return _missing(error)


def _side_by_side(several: "Sequence[Reference]", side: int) -> str:
    """Return patches that stay on one line."""
    patches = "".join(_patch(one, side) for one in several)
    return f"<span style='white-space:nowrap'>{patches}</span>"


def _image(picture: Image.Image, side: int, caption: str) -> str:
    """Return a picture as an element with the data inside, `side` pixels high or wide at most."""
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    buffer = BytesIO()
    # Small patches stay squares of pixels; large ones are made smaller before they are packed.
    if scale < 1:
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture.save(buffer, "WEBP", quality=75)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = _text(caption)
    return (
        f'<img src="data:image/webp;base64,{data}" width="{width}" height="{height}" '
        f'alt="{text}" title="{text}" style="display:inline-block;margin:2px 4px 2px 0;'
        'max-width:none">'
    )


def _missing(error: UserError) -> str:
    return f"<span style='{_QUIET}' title=\"{_text(str(error))}\">picture missing</span> "


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are HTML already."""
    titles = "".join(f"<th scope='col' style='{_CELL};{_QUIET}'>{title}</th>" for title in head)
    body = "".join(
        f"<tr style='border-top:{_LINE};background:none'>"
        + "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        "<table style='border-collapse:collapse;margin:6px 0 0;color:inherit;font-size:inherit;"
        "background:none'>"
        f"<thead><tr style='background:none'>{titles}</tr></thead><tbody>{body}</tbody></table>"
    )


def _left_out(count: int, what: str) -> str:
    return f"<div style='{_QUIET}'>and {count:,} more {what}</div>" if count > 0 else ""


def _box(content: str) -> str:
    return f"<div style='border:{_LINE};padding:8px 12px;overflow-x:auto'>{content}</div>"


def _text(value: object) -> str:
    """Return a text from the atlas as HTML, on one line and not longer than `WORDS`."""
    text = plain(value)
    return escape(text if len(text) <= WORDS else f"{text[: WORDS - 1]}…")
