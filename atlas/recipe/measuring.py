"""Tables about what is measured: the network, the pictures, the scores, the patches."""

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT, Positive

Aggregate = Literal["max", "sum"]


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
    """`auto` (a GPU if there is one), or any torch device that has float64, in which sums are
    exact: `cpu`, `cuda:1`, but not `mps`."""


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
    """... or this many seconds, whichever comes first; also while patches are made."""

    modes: tuple[Literal["activation", "relevance"], ...] = ("activation", "relevance")
    """By which references are chosen; `["activation"]` leaves relevance out, which takes a
    third of the time or less."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the network's arithmetic; scores are added up in float32 whichever it is."""

    compile: bool = False
    """Whether torch.compile fuses what is done between convolutions (needs a C++ compiler on a
    CPU; the last digits of scores change)."""

    results: str = ""
    """A folder that zennit-crp's FeatureVisualization wrote about the same network and data (in
    the same order): its references are taken, and no pass is made over the data. Means and
    class shares stay unknown then."""

    progress: str = ""
    """A file to which a JSON line about the progress is added every ten seconds and at the
    end; empty means none."""

    @field_validator("modes")
    @classmethod
    def _activation_always(cls, modes: tuple[str, ...]) -> tuple[str, ...]:
        if set(modes) not in ({"activation"}, {"activation", "relevance"}):
            raise ValueError('write ["activation"] or ["activation", "relevance"]')
        return tuple(sorted(modes))


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
