"""What an atlas contains, as objects: channels, references and their pictures.

Nothing is read before it is needed; torch is never imported.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from atlas import addresses
from atlas.api import rich
from atlas.api.reference import Reference
from atlas.api.sampled import Sampled
from atlas.errors import UserError
from atlas.plain import slugs
from atlas.store import (
    BANDS,
    COLUMNS,
    MODES,
    STAGES,
    TESTED,
    Mode,
    NameState,
    Store,
    bases,
    made,
    names,
    standing,
)
from atlas.store.bases import Basis
from atlas.store.checks import channel_rows
from atlas.store.influence import worth_a_word
from atlas.store.made import KINDS, MadePicture
from atlas.store.names import NameRecord
from atlas.store.pictures import read_picture

if TYPE_CHECKING:
    from atlas.recipe import Recipe

STATISTIC_COLUMNS = ("act_mean", "act_max", "act_density", "rel_mean", "rel_abs_mean")

SCORE_COLUMNS = (
    *(name for name in TESTED if name != "score_name"),
    "fits_relevance",
    "fits_activation",
    "score_clarity",
    "score_label_auc",
)

SIDE_COLUMNS = ("name_state", "name_tried", "used_for", "fires_for")


@dataclass(frozen=True)
class Sense:
    """One of several meanings of a channel."""

    name: str
    """What it is called."""
    description: str | None
    """One sentence."""
    confidence: float | None
    """What the namer says of itself, 0 to 1."""
    share: float | None
    """Share of the channel's relevance references that show it, 0 to 1."""


@dataclass(frozen=True)
class Channel:
    """One feature map of a layer, or one of its factors."""

    layer: str
    """Name of the layer; of a factor that of its basis, as `features.40/nmf25`."""
    number: int
    """Number of the channel in its layer, from 0."""
    name: str | None
    """What it is called; None without a name, for the reason in `status`."""
    description: str | None
    """One sentence."""
    status: str | None
    """`named`, `no clear concept`, `unnamed` (an unusable answer), or None: nobody has named it."""
    state: NameState | None
    """How far the name can be relied on: `tested` (it scores above names that say nothing of the
    channel), `not told from chance`, `one-sided` (see `used_for` and `fires_for`), `untested`,
    `by a person`, `none found` (see `tried`). None where nobody was asked."""
    used_for: str | None
    """What the references by relevance show, if the name is one-sided; None: nothing in common."""
    fires_for: str | None
    """What the references by activation show, if the name is one-sided; None: nothing in common."""
    tried: str | None
    """What was tried where no name was found."""
    confidence: float | None
    """What the namer says of itself, 0 to 1."""
    named_by: str | None
    """`vlm`, `labels`, `clip` or `person`."""
    namer: str | None
    """Which model, or who."""
    senses: tuple[Sense, ...]
    """Its meanings by falling share; empty unless there are several."""
    other_names: tuple[tuple[str, str | None], ...]
    """Other methods and what they call it."""
    scores: Mapping[str, float | None]
    """How well the name holds, by the columns `score_...` and `fits_...` of channels.parquet that
    are there. Of a one-sided name the scores are those of `fires_for`, where there is one."""
    statistics: Mapping[str, float | None]
    """`act_mean`, `act_max`, `act_density`, `rel_mean`, `rel_abs_mean`, as in channels.parquet."""
    top_classes: tuple[tuple[str, float], ...]
    """Classes with the largest mean relevance share of this channel, and the share, if it is
    positive."""
    by_weights: str | None
    """Words that the names of its strongest inputs share: what the weights say that it is."""
    weights_agree: bool | None
    """Whether its name has one of these words; None where there is nothing to compare."""
    influence: Mapping[str, float | None]
    """How far its activation on its references drops when `hue`, `saturation`, `contrast`,
    `texture` or `shape` is taken out of them: 1 to nothing, below 0 it rises. Empty if that was not
    measured."""
    influence_relative: Mapping[str, float | None]
    """The same in spreads above the median of its layer."""
    row: int = field(repr=False)
    """Row of channels.parquet."""
    _contents: "Contents" = field(repr=False, compare=False)

    @property
    def address(self) -> str:
        """`LAYER:CHANNEL`, by which papers cite it."""
        return f"{self.layer}:{self.number}"

    @property
    def permalink(self) -> str:
        """Address of its page on the atlas's site."""
        return f"channels/{self._contents.slugs[self.layer]}/{self.number}.html"

    @property
    def basis_sha256(self) -> str | None:
        """Which set of factors it is one of, as others can get its address; None of a channel."""
        basis = self._contents.bases.get(self.layer)
        return basis.digest if basis else None

    def as_dict(self) -> dict[str, Any]:
        """Return what is known of it, but for references and neighbours, as a JSON value."""
        return {
            "address": self.address,
            "layer": self.layer,
            "channel": self.number,
            "basis_sha256": self.basis_sha256,
            "permalink": self.permalink,
            "name": self.name,
            "description": self.description,
            "status": self.status,
            "state": self.state,
            "used_for": self.used_for,
            "fires_for": self.fires_for,
            "tried": self.tried,
            "confidence": self.confidence,
            "named_by": self.named_by,
            "namer": self.namer,
            "senses": [asdict(sense) for sense in self.senses],
            "other_names": [{"method": how, "name": name} for how, name in self.other_names],
            "scores": dict(self.scores),
            "statistics": dict(self.statistics),
            "top_classes": [{"class": name, "share": share} for name, share in self.top_classes],
            "by_weights": self.by_weights,
            "weights_agree": self.weights_agree,
            "influence": dict(self.influence),
            "influence_relative": dict(self.influence_relative),
            "reacts_to": self.reacts_to,
            "made": [one.as_dict() for one in self.made],
        }

    @property
    def reacts_to(self) -> list[str]:
        """What it reacts to more than the others of its layer, as far as that was validated."""
        return worth_a_word(self.influence, self.influence_relative)

    @property
    def made(self) -> list[MadePicture]:
        """Pictures that were made for it: by phases alone, then the control; often none."""
        keys = ((self.layer, self.number, kind) for kind in KINDS)
        rows = self._contents._made
        return [rows[key] for key in keys if key in rows]

    def made_picture(self, one: MadePicture) -> Image.Image:
        """Return one of `made` as a picture: made, not seen.

        Raises
        ------
        UserError
            The file is missing or damaged.
        """
        return read_picture(made.path(self._contents.store, one))

    def references(self, mode: Mode = "relevance") -> list[Reference]:
        """Return the references of one mode, best first."""
        return self._contents._references(self.row, mode)

    def bands(self) -> dict[str, list[Sampled]]:
        """Return a few pictures from each part of the range of its activation over all pictures.

        Returns
        -------
        dict
            By band, from `top` down to `silent`, and then `random`; those without pictures are
            left out. Within a band the pictures are in a random order, so that the first ones are
            a sample as good as all. Empty for atlases without a table of bands.
        """
        return self._contents._bands(self.row)

    def made_of(self) -> list[tuple["Channel", float]]:
        """Return its strongest inputs by the weights, and their shares.

        The strength of an input is its largest weight times its mean peak (the mean over pictures
        of its largest output); the share is that of the sum over all channels of the atlas that
        the channel reads. Empty for factors, and where the atlas does not have what it reads.
        """
        return self._contents._pairs(self.row, "made_of", "made_of_shares")

    def held_back_by(self) -> list[tuple["Channel", float]]:
        """Return its inputs with the most negative weights, and their shares of what holds back."""
        return self._contents._pairs(self.row, "held_back_by", "held_back_by_shares")

    def goes_into(self) -> list[tuple["Channel", float]]:
        """Return the channels of whose inputs it is the largest share by the weights."""
        return self._contents._pairs(self.row, "goes_into", "goes_into_shares")

    def goes_into_classes(self) -> list[tuple[str, float]]:
        """Return the classes of whose inputs it is the largest share by the weights."""
        labels = self._contents._listed(self.row, "goes_into_classes", "goes_into_class_shares")
        return [(self._contents.class_names[label], share) for label, share in labels]

    def neighbours(self) -> list[tuple["Channel", float]]:
        """Return the channels with the most similar patches, and the cosine similarity."""
        return self._contents._pairs(self.row, "neighbours", "neighbour_similarities")

    def _repr_html_(self) -> str:
        return rich.channel(self)


class Contents:
    """The tables of a built atlas, read as they are needed."""

    def __init__(
        self, store: Store, overrides: Sequence[str] = (), *, trust_code: bool = False
    ) -> None:
        """Look whether the atlas is finished.

        Parameters
        ----------
        store : Store
            Its directory.
        overrides : sequence of str
            Changes of the recipe, as `atlas.recipe.recorded` takes them.
        trust_code : bool
            Whether the recipe may run code and read files outside the atlas.

        Raises
        ------
        UserError
            It is not.
        """
        self.store: Store = store
        """The directory and its files."""
        self._overrides = overrides
        self._trust_code = trust_code
        done = self.manifest.get("stages", {})
        missing = [stage for stage in STAGES if stage not in done]
        if missing:
            raise UserError(
                f"{store.root} is not finished ({', '.join(missing)} not done): run `atlas build` "
                "to go on"
            )

    @cached_property
    def slugs(self) -> dict[str, str]:
        """The part of an address that the pages of each layer have."""
        return slugs(self.layers)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was measured, how and with what."""
        return self.store.manifest()

    @cached_property
    def recipe(self) -> "Recipe":
        """What the atlas was made by."""
        from atlas.recipe import recorded  # noqa: PLC0415 (few need it)

        return recorded(self.manifest, self._overrides)

    @property
    def id(self) -> str:
        """`<model>-<data>-<hash of what was measured>`."""
        return str(self.manifest["id"])

    @property
    def layers(self) -> list[str]:
        """The layers in the order of the forward pass."""
        return list(self.manifest["layers"])

    @property
    def modes(self) -> list[Mode]:
        """The scores by which references were chosen."""
        return [mode for mode in MODES if mode in self.manifest.get("modes", MODES)]

    @cached_property
    def channels(self) -> pa.Table:
        """channels.parquet, as an Arrow table; `.to_pandas()` makes a DataFrame of it."""
        return self.store.table("channels")

    @cached_property
    def bases(self) -> dict[str, Basis]:
        """The factors of layers, by the name of their basis: `features.40/nmf25`.

        Factors are concepts that are directions of a layer. They stand in `channels` and in the
        other tables like channels, behind them, with their basis in place of a layer; what is here
        is their directions, and how well they stand for the layer. Empty without factors.
        """
        parts = self.store.parts[1:]
        return {basis.name: basis for part in parts for basis in bases.read(part)}

    @cached_property
    def classes(self) -> pa.Table:
        """classes.parquet, as an Arrow table."""
        return self.store.table("classes")

    @cached_property
    def class_names(self) -> list[str]:
        """Name of each output of the network, in the order of classes.parquet."""
        return list(self.store.table("classes", ["name"])["name"].to_pylist())

    @cached_property
    def images(self) -> pa.Table:
        """images.parquet, as an Arrow table."""
        return self.store.table("images")

    @cached_property
    def references(self) -> pa.Table:
        """references.parquet, as an Arrow table."""
        return self.store.table("references")

    @cached_property
    def bands(self) -> pa.Table:
        """bands.parquet, as an Arrow table; without rows where an atlas was made without it."""
        if not self.store.has_table("bands"):
            return pa.schema(list(COLUMNS["bands"].items())).empty_table()
        return self.store.table("bands")

    @cached_property
    def samples(self) -> pa.Table:
        """samples.parquet, as an Arrow table; without rows where an atlas has no factors."""
        if not self.store.has_table("samples"):
            return pa.schema(list(COLUMNS["samples"].items())).empty_table()
        return self.store.table("samples")

    @cached_property
    def namings(self) -> dict[str, list[NameRecord]]:
        """Every naming of the atlas as it is now, by address, as names.jsonl has them."""
        namings: dict[str, list[NameRecord]] = {}
        for record in names.valid(self.store):
            namings.setdefault(f"{record.layer}:{record.channel}", []).append(record)
        return namings

    @cached_property
    def _made(self) -> made.Rows:
        return made.read_all(self.store)

    @property
    def named(self) -> bool:
        """Whether any channel has a name."""
        table = self.channels
        return "name" in table.column_names and table["name"].null_count < len(table)

    def __len__(self) -> int:
        return int(self.channels.num_rows)

    def __iter__(self) -> Iterator[Channel]:
        return (self._make(row, values) for row, values in enumerate(self.channels.to_pylist()))

    def __getitem__(self, address: str | tuple[str, int]) -> Channel:
        """Return the channel at `"LAYER:CHANNEL"` or `(LAYER, CHANNEL)`.

        Raises
        ------
        UserError
            There is no such channel; the message has the nearest addresses.
        """
        text = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        row = self.rows.get(text)
        if row is None:
            raise addresses.unknown(text, list(self.rows), self.id)
        return self.channel(row)

    def channel(self, row: int) -> Channel:
        """Return the channel in a row of channels.parquet."""
        return self._make(row, self.channels.slice(row, 1).to_pylist()[0])

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of channels.parquet for each address."""
        layers, numbers = (self.channels[name].to_pylist() for name in ("layer", "channel"))
        pairs = zip(layers, numbers, strict=True)
        return {f"{layer}:{number}": row for row, (layer, number) in enumerate(pairs)}

    @cached_property
    def channel_rows(self) -> npt.NDArray[np.int64]:
        """Row of channels.parquet for each row of references.parquet."""
        return channel_rows(self.references, self.channels)

    @cached_property
    def _ranges(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First and last row of references.parquet for each channel: they stand in its order."""
        return self._spans(self.channel_rows)

    @cached_property
    def _band_ranges(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First and last row of bands.parquet for each channel: they stand in its order."""
        return self._spans(channel_rows(self.bands, self.channels))

    def _spans(
        self, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        every = np.arange(len(self))
        return np.searchsorted(rows, every), np.searchsorted(rows, every, side="right")

    def _make(self, row: int, values: dict[str, Any]) -> Channel:
        classes = zip(values["top_classes"], values["top_class_shares"], strict=True)
        senses = values.get("senses") or ()
        others = values.get("other_names") or ()
        return Channel(
            layer=values["layer"],
            number=values["channel"],
            name=values.get("name"),
            description=values.get("description"),
            status=values.get("name_status"),
            confidence=values.get("name_confidence"),
            named_by=values.get("named_by"),
            namer=values.get("namer"),
            state=standing.state_of(values),
            used_for=values.get("used_for"),
            fires_for=values.get("fires_for"),
            tried=values.get("name_tried"),
            senses=tuple(Sense(**sense) for sense in senses),
            other_names=tuple((other["method"], other["name"]) for other in others),
            scores={name: values[name] for name in SCORE_COLUMNS if name in values},
            statistics={name: values[name] for name in STATISTIC_COLUMNS},
            top_classes=tuple(
                (self.class_names[label], share) for label, share in classes if share > 0
            ),
            by_weights=values.get("name_by_weights"),
            weights_agree=values.get("weights_agree"),
            influence=values.get("influence") or {},
            influence_relative=values.get("influence_relative") or {},
            row=row,
            _contents=self,
        )

    def _pairs(self, row: int, column: str, values: str) -> list[tuple[Channel, float]]:
        """Return the channels in a list of a row of channels.parquet, and a value of each."""
        return [
            (self.channel(number), value) for number, value in self._listed(row, column, values)
        ]

    def _listed(self, row: int, column: str, values: str) -> list[tuple[int, float]]:
        """Return two lists of a row of channels.parquet side by side; nothing where it has none."""
        if column not in self.channels.column_names:
            return []
        lists = [self.channels[name][row].as_py() or [] for name in (column, values)]
        return list(zip(*lists, strict=True))

    def _references(self, row: int, mode: Mode) -> list[Reference]:
        first, last = (int(rows[row]) for rows in self._ranges)
        part = self.references.slice(first, last - first)
        mine = np.flatnonzero(pc.equal(part["mode"], mode).to_numpy(zero_copy_only=False))
        return [self.reference(first + int(place)) for place in mine]

    def _bands(self, row: int) -> dict[str, list[Sampled]]:
        first, last = (int(rows[row]) for rows in self._band_ranges)
        found: dict[str, list[Sampled]] = {}
        for values in self.bands.slice(first, last - first).to_pylist():
            image = self.images.slice(values["image"], 1).to_pylist()[0]
            label = image["label"]
            found.setdefault(values["band"], []).append(
                Sampled(
                    band=values["band"],
                    activation=values["activation"],
                    weight=values["weight"],
                    key=image["key"],
                    label=None if label is None else self.class_names[label],
                    predicted=self.class_names[image["predicted"]],
                    peak=(values["y"], values["x"]),
                    path=self.store.inside(image["path"]),
                    image=values["image"],
                )
            )
        return {band: found[band] for band in BANDS if band in found}

    def reference(self, row: int) -> Reference:
        """Return the reference in a row of references.parquet."""
        values = self.references.slice(row, 1).to_pylist()[0]
        image = self.images.slice(values["image"], 1).to_pylist()[0]
        label = values["label"]
        return Reference(
            mode=values["mode"],
            rank=values["rank"],
            score=values["score"],
            key=image["key"],
            label=None if label is None else self.class_names[label],
            predicted=self.class_names[values["predicted"]],
            peak=(values["y"], values["x"]),
            box=(values["x0"], values["y0"], values["x1"], values["y1"]),
            path=self.store.inside(image["path"]),
            image=values["image"],
            row=row,
            sense=values.get("sense"),
        )
