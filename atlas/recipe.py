"""The recipe: the TOML file that says what to build.

Every field stands here once, with its meaning, its default and its range. A recipe is
read, completed with defaults, checked as a whole and then never changes.
"""

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from atlas.errors import UserError
from atlas.resources import shipped

Positive = Annotated[int, Field(gt=0)]
Aggregate = Literal["max", "sum"]

STRICT = ConfigDict(extra="forbid")  # a typo in a recipe is an error, not a default


@dataclass(frozen=True, config=STRICT)
class Model:
    """`[model]`: the network."""

    name: str
    """`torchvision/NAME`, `demo/vgg`, or `path/to/file.py:factory` (a function without
    arguments that returns a `torch.nn.Module`)."""

    weights: str = "default"
    """`default` (torchvision's own), a name of torchvision's weights (`IMAGENET1K_V1`),
    `random` (from `seed`), or a state dict: `.safetensors`, or `.pth`/`.pt` with tensors only."""

    layers: tuple[str, ...] = ()
    """Names or globs (`features.*`) of layers; empty means every Conv2d."""

    num_classes: Positive | None = None
    """Number of outputs, for a state dict that does not have the architecture's default."""

    classes: str = ""
    """A file with the names of the outputs in order: a JSON list, or text with one a line.
    Empty: what comes with torchvision's weights, else the data set's names."""

    device: str = "auto"
    """`auto` (a GPU if there is one), or any torch device: `cpu`, `cuda:1`, `mps`."""


@dataclass(frozen=True, config=STRICT)
class Data:
    """`[data]`: the pictures that stream through the network."""

    source: str
    """`folder:DIR`, `hf:NAME` (a name on the Hub or a local folder of Parquet or
    WebDataset shards), or `demo:world`."""

    split: str = "train"
    """Which split of a `hf:` source."""

    config: str = ""
    """Which configuration (subset) of a `hf:` source."""

    revision: str = ""
    """Which revision of a `hf:` source on the Hub; empty means the newest."""

    streaming: bool = True
    """Whether a `hf:` source is streamed, or downloaded first."""

    image_column: str = ""
    """Column of the pictures of a `hf:` source; empty means found by its type."""

    label_column: str = ""
    """Column of the labels of a `hf:` source; empty means found by its type."""

    limit: Positive | None = None
    """At most this many pictures, from the start."""

    seed: int = 0
    """Seed of `demo:world`."""


@dataclass(frozen=True, config=STRICT)
class Preprocessing:
    """`[preprocessing]`: how a picture becomes the network's input.

    Empty fields are taken from the model (torchvision's weights, the demo network).
    """

    resize: Positive | None = None
    """Length of the shorter side after resizing, in pixels."""

    crop: Positive | None = None
    """Side of the central square that is cut out, in pixels."""

    mean: tuple[float, float, float] | None = None
    """Subtracted from each colour channel (red, green, blue in [0, 1])."""

    std: tuple[float, float, float] | None = None
    """Each colour channel is divided by this."""


@dataclass(frozen=True, config=STRICT)
class Activation:
    """`[activation]`: the score by which references are chosen in this mode."""

    aggregate: Aggregate = "max"
    """Over the positions of the channel's map."""

    normalize: bool = False
    """Whether to divide by the sum of |score| over the layer's channels in that picture."""


@dataclass(frozen=True, config=STRICT)
class Relevance:
    """`[relevance]`: the score by which references are chosen in this mode."""

    aggregate: Aggregate = "sum"
    """Over the positions of the channel's map."""

    normalize: bool = True
    """Whether to divide by the sum of |score| over the layer's channels in that picture."""

    target: Literal["label", "predicted"] = "label"
    """Whose logit is explained; pictures without a label use the predicted class."""

    composite: str = "epsilon_plus_flat"
    """Rules of relevance propagation: `epsilon_`, then that of convolutions (`plus`, `gamma` or
    `epsilon`), then `_flat` if the first layer has the flat rule; or another of zennit's
    composites by its name there, which takes longer."""


@dataclass(frozen=True, config=STRICT)
class Prepass:
    """`[prepass]`: the one pass over the data."""

    k: Positive = 40
    """References of each channel in each mode."""

    batch_size: Positive = 32
    """Pictures that go through the network together. Results do not depend on it on a CPU."""

    workers: Annotated[int, Field(ge=0)] | None = None
    """Processes that read and decode pictures; unless given, none on a CPU, which has enough
    to do, and up to 8 beside a GPU."""

    checkpoint_images: Positive = 10_000
    """A checkpoint is written after this many pictures ..."""

    checkpoint_seconds: Positive = 120
    """... or this many seconds, whichever comes first."""

    dtype: Literal["float32"] = "float32"
    """Precision of the network's arithmetic."""


@dataclass(frozen=True, config=STRICT)
class Patches:
    """`[patches]`: crops of the references and their vectors."""

    encoder: str = "model"
    """`model` (the network's own penultimate representation), or a `transformers` image
    encoder: a local folder or a name on the Hub."""

    layer: str = ""
    """With `encoder = "model"`: the layer whose input is the vector; empty means the last
    layer with weights."""

    revision: str = ""
    """Which revision of an encoder on the Hub."""


@dataclass(frozen=True, config=STRICT)
class Site:
    """`[site]`: the pages."""

    title: str = ""
    """Title of the site; empty means made from the model and the data."""

    description: str = ""
    """One or two sentences about this atlas for its home page."""


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """Everything that decides what an atlas contains."""

    name: str
    """Short name; the atlas is built in `build/out/NAME` unless said otherwise."""

    model: Model
    data: Data
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    activation: Activation = field(default_factory=Activation)
    relevance: Relevance = field(default_factory=Relevance)
    prepass: Prepass = field(default_factory=Prepass)
    patches: Patches = field(default_factory=Patches)
    site: Site = field(default_factory=Site)

    seed: int = 0
    """Seed of everything that draws random numbers."""

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe with its defaults as plain tables, for the manifest."""
        return asdict(self)


RECIPE = TypeAdapter(Recipe)


def load(recipe: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and check every field of it.

    Parameters
    ----------
    recipe : str
        Path of a TOML file, or the bare name of a recipe that ships (`demo`).
    overrides : sequence of str
        `table.key=value` each; the value is read as TOML, and as text where it is none.

    Raises
    ------
    UserError
        The file is missing or is not TOML, a key is unknown, or a value does not fit.
    """
    path = _find(recipe)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a TOML file: {error}") from error
    tables.setdefault("name", path.stem)
    for override in overrides:
        _apply(tables, override)
    return parse(tables, str(path))


def parse(tables: dict[str, Any], origin: str) -> Recipe:
    """Check `tables` and complete them with defaults; `origin` names them in messages."""
    try:
        return RECIPE.validate_python(tables)
    except ValidationError as error:
        raise UserError(f"{origin}: {_explain(error)}") from error


def _find(recipe: str) -> Path:
    path = Path(recipe)
    if path.is_file():
        return path
    if path.name == recipe and not path.suffix:
        path = shipped("build") / f"{recipe}.toml"
        if path.is_file():
            return path
    names = ", ".join(sorted(p.stem for p in shipped("build").glob("*.toml")))
    raise UserError(f"no recipe {recipe!r}: give the path of a TOML file, or one of {names}")


def _apply(tables: dict[str, Any], override: str) -> None:
    """Set one `table.key=value` in `tables`."""
    dotted, equals, text = override.partition("=")
    *parents, key = dotted.strip().split(".")
    if not equals or not key:
        raise UserError(f"--set {override!r}: write it as table.key=value, as data.limit=100")
    table = tables
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UserError(f"--set {override!r}: {parent!r} is not a table of the recipe")
    try:
        table[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[key] = text


def _explain(error: ValidationError) -> str:
    """Turn the first problem that pydantic found into one line that says how to mend it."""
    problem = error.errors()[0]
    where = [str(part) for part in problem["loc"]]
    name = ".".join(where)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _keys(where[:-1])
        close = difflib.get_close_matches(where[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        return f"there is no {name!r}; {hint}"
    if problem["type"] == "missing":
        return f"{name!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    more = error.error_count() - 1
    return f"{name} = {problem['input']!r}: {message}" + (f" (and {more} more)" if more else "")


def _keys(tables: Sequence[str]) -> list[str]:
    """Return the known keys of the table that the path `tables` leads to."""
    kind: Any = Recipe
    for table in tables:
        kind = next((f.type for f in fields(kind) if f.name == table), Recipe)
        if not is_dataclass(kind):
            return []
    return [f.name for f in fields(kind)]
