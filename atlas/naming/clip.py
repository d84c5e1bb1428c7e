"""Names from an image-text model: the phrase of a list that fits a channel's pictures most.

CLIP-Dissect (Oikarinen and Weng 2023) with its soft weighted pointwise mutual information: how
much more probable a phrase is in the pictures that a channel answers to than in general.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F
from tqdm import tqdm

from atlas.errors import UserError
from atlas.plain import plain
from atlas.probe.probe import Responses
from atlas.store import Store, names
from atlas.store.names import NameRecord
from atlas.store.pictures import open_picture
from atlas.vlm import called

TOP = 100
"""Pictures that a channel answers to most, by which it is named."""

TEMPERATURE = 10.0
"""Multiplies the cosines before the softmax over phrases."""

PRIOR = 0.998, 0.97
"""Weight of the best picture and of the last of the `TOP`, with an even fall between."""

LEAST = 1e-7
"""Probabilities are not taken below this."""

CANDIDATES = 5
"""Phrases that a record lists."""

_BATCH = 32
_TEXTS = 256  # phrases that are encoded together

Floats = npt.NDArray[np.float64]


class ImageText(Protocol):
    """An image-text model."""

    id: str
    revision: str | None

    def images(self, paths: Sequence[Path]) -> npt.NDArray[np.float32]:
        """Return a vector of length one for each picture."""

    def texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return a vector of length one for each text."""


@dataclass(frozen=True)
class Phrases:
    """A list of phrases, and what it is called."""

    texts: tuple[str, ...]
    sha256: str


def read_phrases(path: str) -> Phrases:
    """Read a text file with one phrase a line.

    Raises
    ------
    UserError
        There is none, or it has fewer than two phrases.
    """
    if not path:
        raise UserError("say which words to choose from: --set naming.words=FILE, one a line")
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"naming.words = {path!r} cannot be read as a text file in UTF-8"
        ) from error
    texts = tuple(dict.fromkeys(text for line in lines if (text := plain(line))))
    if len(texts) < 2:
        raise UserError(f"naming.words = {path!r}: write at least two phrases, one a line")
    return Phrases(texts, hashlib.sha256("\n".join(texts).encode()).hexdigest())


def run(store: Store, model: ImageText, responses: Responses, phrases: Phrases) -> int:
    """Name every channel; return how many were not named from the same data before."""
    paths = store.pictures()
    parts = []
    for start in tqdm(range(0, len(responses.images), _BATCH), desc="pictures", unit=" batches"):
        chosen = responses.images[start : start + _BATCH]
        parts.append(model.images([paths[row] for row in chosen]))
    similarity = np.concatenate(parts) @ _encoded(model, phrases.texts).T
    fit = soft_wpmi(similarity.astype(np.float64), responses.values)
    best = np.argsort(-fit, axis=1, kind="stable")
    table = store.table("channels").select(["layer", "channel"]).to_pydict()
    digest = hashlib.sha256(responses.images.tobytes() + responses.values.tobytes()).hexdigest()
    records = [
        NameRecord(
            layer=layer,
            channel=channel,
            method="clip",
            by=model.id,
            status="named",
            name=phrases.texts[best[row, 0]],
            revision=model.revision,
            prompt={"name": "words", "version": 1, "sha256": phrases.sha256},
            references=digest,
            details={
                "candidates": [
                    {"name": phrases.texts[column], "soft_wpmi": round(float(fit[row, column]), 4)}
                    for column in best[row, :CANDIDATES]
                ]
            },
        )
        for row, (layer, channel) in enumerate(zip(table["layer"], table["channel"], strict=True))
    ]
    return names.append_new(store, records)


def _encoded(model: ImageText, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return a vector of each text; a few at a time, since 20,000 at once took 55 GB."""
    starts = tqdm(range(0, len(texts), _TEXTS), desc="words", unit=" batches")
    return np.concatenate([model.texts(texts[start : start + _TEXTS]) for start in starts])


def soft_wpmi(similarity: Floats, activations: npt.NDArray[np.float32]) -> Floats:
    """Return how well each phrase fits each channel.

    Parameters
    ----------
    similarity : ndarray
        float64 (pictures, phrases), cosines.
    activations : ndarray
        float32 (pictures, channels).

    Returns
    -------
    ndarray
        float64 (channels, phrases): the log probability of the phrase given the channel's
        pictures, less its log probability given any channel's.

    Notes
    -----
    Oikarinen and Weng 2023, section 3.3: with p(x in B) falling from 0.998 to 0.97 along the
    best 100 pictures x, log p(t | B) is the sum of log(1 + p(x in B) (p(t | x) - 1)).
    """
    count = min(TOP, len(similarity))
    given = torch.softmax(torch.from_numpy(TEMPERATURE * similarity), dim=1).numpy()
    weight = np.linspace(PRIOR[0], PRIOR[1], count)
    best = np.argsort(-activations, axis=0, kind="stable")[:count]
    inside = np.stack([
        np.log(1 + weight[:, None] * (given[rows] - 1) + LEAST).sum(0) for rows in best.T
    ])  # fmt: skip
    anywhere = np.logaddexp.reduce(inside, axis=0) - np.log(len(inside))
    difference: Floats = inside - anywhere
    return difference


def load(name: str, revision: str) -> ImageText:
    """Load a CLIP or SigLIP model from a local folder or from the Hub.

    Raises
    ------
    UserError
        It cannot be loaded, or is no image-text model.
    """
    return _Transformers(name, revision)


class _Transformers:
    """An image-text model of `transformers`."""

    def __init__(self, name: str, revision: str) -> None:
        from transformers import AutoModel, AutoProcessor  # noqa: PLC0415 (slow to import)

        options: dict[str, Any] = {"trust_remote_code": False}  # without it, it asks the user
        options |= {"revision": revision} if revision else {}
        try:
            self._processor = AutoProcessor.from_pretrained(name, **options)
            self._model = AutoModel.from_pretrained(name, use_safetensors=True, **options).eval()
            self._model.get_text_features  # noqa: B018 (is there one?)
        except Exception as error:  # it raises anything on what it does not understand
            raise UserError(
                f"naming.clip = {name!r} cannot be loaded: give a local folder, or the name of a "
                "CLIP or SigLIP model on the Hub that can be reached"
            ) from error
        self.id = called(name)
        self.revision: str | None = getattr(self._model.config, "_commit_hash", None)

    def images(self, paths: Sequence[Path]) -> npt.NDArray[np.float32]:
        """Return a vector of length one for each picture."""
        pictures = [open_picture(path) for path in paths]
        inputs = self._processor(images=pictures, return_tensors="pt")
        return self._unit(self._model.get_image_features, inputs)

    def texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return a vector of length one for each text."""
        # SigLIP was trained on texts of full length.
        inputs = self._processor(
            text=list(texts), padding="max_length", truncation=True, return_tensors="pt"
        )
        return self._unit(self._model.get_text_features, inputs)

    @staticmethod
    def _unit(features: Callable[..., Any], inputs: Any) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            found = features(**inputs)
        vectors = found if isinstance(found, torch.Tensor) else found.pooler_output
        unit: npt.NDArray[np.float32] = F.normalize(vectors.float(), dim=1).cpu().numpy()
        return unit
