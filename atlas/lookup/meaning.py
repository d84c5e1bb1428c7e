"""Finding channels by what words mean, in any language that a sentence encoder knows."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atlas.api.contents import Contents
from atlas.errors import UserError, one_line
from atlas.lookup.conditions import Conditions
from atlas.lookup.hit import Hit

CLASSES = 3
"""Top classes that stand for a channel where no channel has a name."""

CACHE = ".meaning-{}.npy"
"""In the atlas's directory: encoding thousands of names takes many seconds."""


class Meaning:
    """The names of an atlas as vectors.

    Parameters
    ----------
    contents : Contents
        The atlas.
    folder : Path
        A model of sentence-transformers that is there; nothing is downloaded.

    Raises
    ------
    UserError
        sentence-transformers is not installed, or the folder has no model that it can load.
    """

    def __init__(self, contents: Contents, folder: Path) -> None:
        self._contents = contents
        self._folder = folder
        texts = _texts(contents)
        self._unique = list(dict.fromkeys(text for several in texts for text in several))
        place = {text: number for number, text in enumerate(self._unique)}
        self._places = [[place[text] for text in several] for several in texts]
        self._model = _load(folder)

    def search(self, query: str, n: int, conditions: Conditions) -> list[Hit]:
        """Find channels one of whose texts means the same.

        Parameters
        ----------
        query : str
            Words.
        n : int
            How many channels to return at most.
        conditions : Conditions
            Which channels may be found.

        Returns
        -------
        list of Hit
            By falling cosine of the query and the channel's name, one of its senses, or its
            description, whichever is nearest.
        """
        cosines = self._vectors @ self._encode([query])[0]
        nearest = np.array([max(cosines[some], default=-1.0) for some in self._places])
        known = np.array([bool(some) for some in self._places]) & conditions.allowed(self._contents)
        best = [row for row in np.argsort(-nearest, kind="stable").tolist() if known[row]]
        return [
            Hit(
                self._contents.channel(row),
                "meaning",
                similarity=float(np.clip(nearest[row], -1, 1)),
            )
            for row in best[:n]
        ]

    @cached_property
    def _vectors(self) -> npt.NDArray[np.float32]:
        """One for each of the unique texts, at length one; from the cache if they are there."""
        store = self._contents.store
        name = CACHE.format(_digest(self._folder, self._unique))
        if (store.root / name).is_file():
            return store.array(name)
        vectors = self._encode(self._unique)
        try:
            for old in store.root.glob(CACHE.format("*")):
                old.unlink()
            store.write_array(name, vectors)
        except OSError:  # an atlas that may only be read
            pass
        return vectors

    def _encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)


def _load(folder: Path) -> Any:
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (an extra, and slow)
    except ImportError as error:
        raise UserError(
            "searching by meaning needs sentence-transformers: install it with pip install "
            "'concept-atlas[meaning]'"
        ) from error
    if not (folder / "modules.json").is_file():
        raise UserError(
            f"{folder} has no model of sentence-transformers (no modules.json): give the folder of "
            "one that was downloaded, such as paraphrase-multilingual-MiniLM-L12-v2"
        )
    for pickle in folder.rglob("pytorch_model.bin"):
        if not pickle.with_name("model.safetensors").is_file():
            raise UserError(
                f"{pickle} is a pickle, which can run anything: take a model with model.safetensors"
            )
    try:
        return SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # it raises anything on what it does not understand
        raise UserError(
            f"the model in {folder} cannot be loaded ({one_line(error)[:200]}): download it anew"
        ) from error


def _texts(contents: Contents) -> list[list[str]]:
    if not contents.named:
        return [[name for name, _ in channel.top_classes[:CLASSES]] for channel in contents]
    return [
        [
            text
            for text in (
                channel.name,
                *(sense.name for sense in channel.senses),
                channel.description,
            )
            if text
        ]
        for channel in contents
    ]


def _digest(folder: Path, texts: list[str]) -> str:
    """Return what decides the vectors: the model's files and the texts."""
    model = [
        (path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return hashlib.sha256(json.dumps([model, texts]).encode()).hexdigest()[:16]
