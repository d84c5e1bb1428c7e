"""Tables about names: who gives them, from what, and how good they are."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from atlas.recipe.kinds import STRICT, Positive, Seed

View = Literal["outlined", "dimmed", "patch", "boxed"]


@dataclass(frozen=True, config=STRICT)
class Naming:
    """`[naming]`: how channels get their names."""

    method: Literal["", "vlm", "labels", "clip"] = ""
    """`vlm`: a vision-language model looks at the references. `labels`: the combination of
    labels that the channel distinguishes best. `clip`: the word of a list that an image-text model
    finds fitting most. Empty: `atlas build` names nothing, and `atlas name` takes `vlm`."""

    vlm: str = "Qwen/Qwen3-VL-8B-Instruct"
    """Any image-text-to-text model of `transformers`: a local folder, a name on the Hub, or
    `demo/vlm`; or one at a server with the chat-completions interface (vLLM, llama.cpp, Ollama, LM
    Studio, `transformers serve`), `server:http://127.0.0.1:8000/v1`, with `#MODEL` where it has
    several (needs the extra `server`; a key is taken from the variable `ATLAS_VLM_KEY`). The
    default has the Apache licence, fits one GPU of 24 GB in bfloat16 (8.8 billion parameters, 17.5
    GB), takes many pictures in one question, answers without thinking first, and is served by vLLM,
    llama.cpp and Ollama, too."""

    revision: str = ""
    """Which revision of the model on the Hub; empty means the newest, and records say which. Of a
    model at a server or asked by files records say what stands here; runs of one model in
    different ways go on from each other where it is the same."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the model; `auto` is that of its file."""

    device: str = "auto"
    """Where the model lies: `auto` lets accelerate spread it over what there is, or `cpu`,
    `cuda:0`."""

    quantization: Literal["none", "8bit", "4bit"] = "none"
    """How the weights are quantized, by bitsandbytes (needs a GPU)."""

    batch_size: Positive = 16
    """Questions that are asked together; halved whenever memory runs out. At a server: questions
    in flight."""

    max_tokens: Positive = 160
    """Longest answer."""

    constrained: bool = False
    """Whether answers can only be JSON of the wanted form (needs the extra `constrained`, or a
    server that takes a JSON schema)."""

    prompt: str = "patches"
    """`patches`, `brief` (for the demo's model), or a TOML file like those."""

    mode: Literal["", "relevance", "activation"] = ""
    """Which references are shown. Empty: of channels those by relevance, of factors those by
    activation; a factor's highest share of the relevance is in pictures in which little else speaks
    for the class, and a name would take up what these have in common."""

    references: Annotated[int, Field(ge=2, le=25)] = 9
    """How many of them, from the best down. The name is then tested on as many of each mode."""

    view: View = "outlined"
    """`outlined`: what the mask of the patch has, cut out with a third more around it, which is
    grey, and a line between them. `dimmed`: the patch, darkened outside the concept. `patch`: as it
    is. `boxed`: the whole picture with a box."""

    layout: Literal["separate", "sheet"] = "separate"
    """One image for each patch, or all of them on one."""

    contrast: Annotated[int, Field(ge=0, le=9)] = 3
    """Patches that look similar, from pictures to which the channel hardly answers and of classes
    that do not recur among its references, shown as what is not meant. More than 0 needs the
    network, which is run on `pictures`."""

    side: Positive = 224
    """Side of each patch as it is shown, in pixels."""

    senses: bool = True
    """Whether references are searched for several meanings, which are named one by one."""

    clip: str = "openai/clip-vit-base-patch32"
    """For `clip`: a CLIP or SigLIP model of `transformers`, a local folder or a name on the Hub."""

    clip_revision: str = ""
    """Which revision of it on the Hub."""

    words: str = ""
    """For `clip`: a text file with one word or phrase a line."""

    pictures: Positive = 2_000
    """For `labels`, `clip` and contrast: how many of the atlas's pictures every channel is
    measured on."""


@dataclass(frozen=True, config=STRICT)
class Scoring:
    """`[scoring]`: how names are tested."""

    patches: Annotated[int, Field(ge=4)] = 40
    """Patches at most that the model is shown for each name, from the pictures that `prepass.bands`
    keeps of the whole range of the channel's activation; half of them, where there are as many, of
    pictures to which the channel responds. A third as many for each of four other names, with which
    it is compared."""

    pictures: Positive = 2_000
    """How many of the atlas's pictures every channel is measured on, to find out which labels it
    distinguishes."""

    prompt: str = "fits"
    """`fits`, `fits-brief` (for the demo's model), or a TOML file like those. `atlas name` asks it
    too, of the references of both modes."""

    resamples: Positive = 1_000
    """Draws of the Bayesian bootstrap behind each estimate and its interval."""

    in_build: bool = False
    """Whether `atlas build` scores the names that it gave."""

    seed: Seed = 0
    """Seed of the draws."""
