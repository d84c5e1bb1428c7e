"""Pictures that were made for channels: `made.json` and a file for each in `made`.

The table carries its own hash, and that of each picture, since pictures can be made for a finished
atlas at any time. Pictures of before the atlas was measured anew are none of it any more.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from PIL import Image
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from atlas.addresses import BASIS
from atlas.plain import slug
from atlas.store import bounds, files
from atlas.store.directory import MADE_FILE, MADE_PICTURES, Store
from atlas.store.pictures import load_picture

Kind = Literal["maco", "accentuated", "fourier"]

KINDS: tuple[Kind, ...] = get_args(Kind)

QUALITY = 95
"""Quality of the WebP: what is measured is the picture as it is stored."""

LEAST_ALIKE = 0.68
"""Where the inputs that drive a channel are less alike, made picture and references disagree, if
the picture reaches `LEAST_REACH`. The demo's honest channels of even number are so in 1 of 30
cases, by which it was chosen (`benchmarks/manipulated.py`, `benchmarks/RESULTS.md`)."""

LEAST_REACH = 0.5
"""A picture that reaches less is a poor one of any channel, and no witness against references."""

_Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]


@dataclass(frozen=True)
class MadePicture:
    """A row of the table: a picture that was made for a channel, and what came of it."""

    layer: str
    channel: Annotated[int, Field(ge=0)]
    kind: Kind
    """`maco`: it has the mean spectrum of the atlas's pictures. `accentuated`: a reference, changed
    a little. `fourier`: the control, free."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    steps: Annotated[int, Field(gt=0)]
    activation: _Number
    """The channel's largest output on it."""
    reach: _Number | None
    """Activation in parts of the largest on any picture of the data; None if no picture has any."""
    rank: Annotated[int, Field(ge=1)]
    """Place of the channel in its layer by reach on this picture; 1 is the first."""
    likeness: Annotated[float, Field(ge=0, le=1)] | None
    """Share of the layer's other channels whose references are less like this picture, by the
    vectors of patches, than the channel's own; None where it has no references, or no others do,
    and for a picture that began as a reference."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of its file."""
    image: Annotated[int, Field(ge=0)] | None = None
    """Row in images.parquet of the reference that it began as; None where it began by chance."""
    inputs_alike: Annotated[float, Field(ge=0, le=1)] | None = None
    """How far the same inputs drive the channel on it as on its references: a cosine, in parts of
    that which references have with each other. None where no layer is before it, it has fewer than
    two references or the picture began as one, and for pictures that earlier versions made."""

    @property
    def compared(self) -> bool:
        """Whether it can be held against the references.

        The level was chosen on pictures with the spectrum of the data: a free spectrum drives
        honest channels by other inputs, too.
        """
        return self.kind == "maco" and self.inputs_alike is not None

    @property
    def disagrees(self) -> bool:
        """Whether the channel likes it and is driven by other inputs than on its references."""
        reaches = self.reach is None or self.reach >= LEAST_REACH
        return reaches and self.compared and (self.inputs_alike or 0.0) < LEAST_ALIKE

    @property
    def photographs_do_better(self) -> bool:
        """Whether a picture of the data activates the channel more."""
        return self.reach is not None and self.reach < 1

    @property
    def key(self) -> tuple[str, int, Kind]:
        """What there is one of."""
        return self.layer, self.channel, self.kind

    @property
    def name(self) -> str:
        """Its file, with forward slashes, in the part of the atlas that has the channel."""
        end = "" if self.kind == "maco" else f"-{self.kind}"
        return f"{MADE_PICTURES}/{slug(self.layer)}/{self.channel}{end}.webp"

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON says of it."""
        return {**asdict(self), "disagrees": self.disagrees}


Rows = Mapping[tuple[str, int, Kind], MadePicture]

_ROWS: TypeAdapter[list[MadePicture]] = TypeAdapter(
    list[MadePicture], config=ConfigDict(extra="forbid")
)


def read(part: Store) -> Rows:
    """Return the pictures of an atlas, or of the part of one that has its factors.

    Raises
    ------
    UserError
        The table cannot be read, or is not what its hash says.
    """
    path = part.root / MADE_FILE
    try:
        table = bounds.read_json(path)
        rows, content, state = table["rows"], table["content"], table["state"]
        found = _ROWS.validate_python([_as_now(row) for row in rows])
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise bounds.damaged(path, error.errors()[0]["msg"]) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise bounds.damaged(path, error) from error
    if content != _digest(rows):
        raise bounds.damaged(path, "its rows are not those of its hash")
    return {row.key: row for row in found} if state == _state(part) else {}


def _as_now(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without what earlier versions also measured."""
    found = {**row}
    found.pop("likeness_inside", None)
    return found


def read_all(store: Store) -> Rows:
    """Return the pictures of an atlas and of its factors."""
    return {key: row for part in store.parts for key, row in read(part).items()}


def write(part: Store, row: MadePicture, content: bytes) -> None:
    """Add a picture, or put it in place of another: first its file, then its row."""
    rows = {**read(part), row.key: row}
    files.write_bytes(bounds.inside(part.root, row.name), content)
    values = [asdict(rows[key]) for key in sorted(rows)]
    table = {"state": _state(part), "content": _digest(values), "rows": values}
    files.write_text(part.root / MADE_FILE, json.dumps(table, indent=1) + "\n")


def encoded(picture: Image.Image) -> bytes:
    """Return a picture as it is stored."""
    file = BytesIO()
    picture.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def decoded(content: bytes) -> Image.Image:
    """Return a picture from what `encoded` gave."""
    return load_picture(BytesIO(content), "just made").convert("RGB")


def path(store: Store, row: MadePicture) -> Path:
    """Return where a picture of an atlas or of its factors is.

    Raises
    ------
    UserError
        That leads out of the atlas.
    """
    part = store.parts[-1] if BASIS in row.layer else store.parts[0]
    return bounds.inside(part.root, row.name)


def said(row: MadePicture) -> str:
    """Return in a few sentences what came of a picture."""
    unit = "factor" if BASIS in row.layer else "channel"
    if row.reach is None:
        made = f"does so by {row.activation:.3g}" if row.activation > 0 else "does not either"
        parts = [f"No picture of the data activates this {unit}; the made one {made}."]
    else:
        parts = [
            f"Reach {row.reach:.2f} (activation in parts of the highest on any picture of the "
            f"data), {unit} number {row.rank} of its layer by reach."
        ]
        parts += ["Photographs do it better."] if row.photographs_do_better else []
    if row.disagrees:
        parts.append(
            f"It and the references disagree: other inputs drive the {unit} on it "
            f"({row.inputs_alike or 0:.2f} of the cosine that references have). "
            "Trust neither by itself."
        )
    return " ".join(parts)


def problems(part: Store) -> list[str]:
    """Return what is wrong with the pictures of a part: files, and channels that it lacks."""
    table = part.table("channels", ["layer", "channel"])
    known = set(zip(table["layer"].to_pylist(), table["channel"].to_pylist(), strict=True))
    found = []
    for row in read(part).values():
        file = bounds.inside(part.root, row.name)
        if (row.layer, row.channel) not in known:
            found.append(f"{row.name} is of no channel of the atlas")
        elif not file.is_file():
            found.append(f"{row.name} is missing")
        elif files.sha256(file) != row.sha256:
            found.append(f"{row.name} has changed")
        elif row.image is not None and row.image >= part.rows("images"):
            found.append(f"{row.name} began as no picture of the atlas")
    return found


def _state(part: Store) -> list[str]:
    """Return what the pictures were made for: the atlas as it was measured, and its patches."""
    manifest = part.manifest()
    return [manifest.get("id", ""), manifest.get("stages", {}).get("patches", "")]


def _digest(rows: Any) -> str:
    return files.digest(json.dumps(rows, sort_keys=True).encode())
