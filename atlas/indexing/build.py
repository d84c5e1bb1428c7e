"""Say where in its reference each patch lies and where in it the concept, and index its vector."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm

from atlas.errors import UserError
from atlas.indexing.ondisk import Rows, open_rows
from atlas.model.preprocessing import Preprocessor
from atlas.patches import localise, vectors
from atlas.patches.encoders import Encoder
from atlas.patches.pooling import pooled
from atlas.relevance.engine import PIXELS, PREDICTED, Engine, measure
from atlas.store import INDEX, Mode, Store
from atlas.store.checks import channel_rows
from atlas.store.pictures import open_picture
from atlas.store.unfinished import Unfinished
from atlas.trace.sights import ReceptiveField

ENCODE_BATCH = 8
"""Pictures encoded at once; always this many, so that no vector depends on its neighbours. More
are no faster on a CPU, where their maps would be too large for memory to be used again."""

ADDED = 4096
"""Vectors that are added to the index at once."""

COMPARED = 512
"""Channels that are compared with all others at once."""

NEIGHBOURS = 12
"""Similar channels that channels.parquet lists for each channel."""

VECTORS = "vectors.f32"
"""The vectors while the index is not finished."""

Integers = npt.NDArray[np.int64]


def localise_patches(
    store: Store,
    engine: Engine,
    fields: dict[str, ReceptiveField],
    preprocessing: Preprocessor,
    target: str,
    batch_size: int,
    device: torch.device,
    unfinished: Unfinished,
) -> None:
    """Complete references.parquet with patch boxes and write the masks inside them.

    Every picture with references goes through the engine once; its maps serve all of them.

    Parameters
    ----------
    store : Store
        With references and stored pictures.
    engine : Engine
        That of the pre-pass, with the relevance of the pixels, if it has relevance.
    fields : dict
        Receptive field of each layer.
    preprocessing : Preprocessor
        The one of the pre-pass.
    target : {"label", "predicted"}
        Whose relevance the references were chosen by.
    batch_size : int
        Pictures that are read together.
    device : torch.device
        Where the network is.
    unfinished : Unfinished
        Where boxes and masks are kept meanwhile.
    """
    rows = _References(store)
    images = store.table("images").to_pydict()
    known = [PREDICTED if label is None else label for label in images["label"]]
    targets = torch.tensor(known if target == "label" else [PREDICTED] * len(known))
    size = preprocessing.size
    begun = unfinished.load() or {
        "done": np.zeros(1, np.int64),
        "boxes": np.zeros((rows.count, 4), np.int64),
        "masks": np.zeros((rows.count, localise.MASK_SIDE, localise.MASK_SIDE), np.uint8),
    }
    done, boxes, masks = begun["done"], begun["boxes"], begun["masks"]

    paths = _referenced(store, rows.image)
    batches = range(int(done[0]), len(paths), batch_size)
    for start in tqdm(batches, desc="where", unit=" batches"):
        views = [open_picture(path) for path in paths[start : start + batch_size]]
        batch = preprocessing.tensor(views).to(device)

        waiting = _Waiting(rows, fields, size, boxes, masks)

        def visit(
            part: slice, layer: str, mode: Mode, maps: Tensor,
            first: int = start, waiting: _Waiting = waiting,
        ) -> None:  # fmt: skip
            waiting.visit(first + part.start, layer, mode, maps)

        measure(engine, batch, targets[start : start + batch_size].to(device), visit)
        waiting.settle(None)
        done[0] = start + len(views)
        if unfinished.due() or done[0] == len(paths):
            unfinished.save({"done": done, "boxes": boxes, "masks": masks})

    store.write_array("masks.npy", masks)
    store.extend_table("references", dict(zip(("x0", "y0", "x1", "y1"), boxes.T, strict=True)))


def index_patches(
    store: Store, encoder: Encoder, unfinished: Unfinished
) -> dict[str, str | int | float]:
    """Give every patch its vector, write the FAISS index and each channel's nearest channels.

    Every picture with references is encoded once, however many they are. Meanwhile the vectors lie
    in `VECTORS`, in the order of references.parquet.

    Parameters
    ----------
    store : Store
        With patch boxes, masks and stored pictures.
    encoder : Encoder
        From pictures to maps.
    unfinished : Unfinished
        Where it is kept how many pictures are done.

    Returns
    -------
    dict
        What the manifest says about the index.
    """
    references = store.table("references", ["image", "x0", "y0", "x1", "y1"])
    count = references.num_rows
    if not count:
        raise UserError("no channel answers to any picture: look at model.weights and model.layers")
    with open_rows(store.root / VECTORS, count, unfinished) as kept:
        _encode(store, references, encoder, kept)
        sampled = np.linspace(0, count - 1, vectors.sample_size(count, kept.dimension))
        growing = vectors.begin(kept.read(sampled.astype(np.int64)), count, kept.dimension)
        channel_of = channel_rows(
            *(store.table(name, ["layer", "channel"]) for name in ("references", "channels"))
        )
        sums = np.zeros((store.rows("channels"), kept.dimension))
        for start in tqdm(range(0, count, ADDED), desc="index", unit=" chunks"):
            chunk = kept.read(np.arange(start, min(start + ADDED, count)))
            channels = channel_of[start : start + len(chunk)]
            firsts = np.flatnonzero(np.diff(channels, prepend=-1))  # rows of a channel lie together
            np.add.at(sums, channels[firsts], np.add.reduceat(chunk, firsts, dtype=np.float64))
            vectors.add(growing, chunk)
        recall = round(vectors.recall(growing, kept.read), 4)
    vectors.save(growing.index, store.root / INDEX)
    nearest, similarity = _nearest(sums)
    store.extend_table("channels", {"neighbours": nearest, "neighbour_similarities": similarity})
    return {
        "encoder": encoder.name,
        "dimension": kept.dimension,
        "factory": growing.factory,
        "recall_at_10": recall,
    }


def _encode(store: Store, references: pa.Table, encoder: Encoder, kept: Rows) -> None:
    """Encode the pictures that are not done, and keep the vectors of their patches."""
    image, *sides = (references[name].to_numpy() for name in references.column_names)
    boxes, masks = np.stack(sides, axis=1), store.array("masks.npy")
    by_image = np.argsort(image, kind="stable")
    paths = _referenced(store, image)
    firsts = np.searchsorted(image[by_image], np.arange(len(paths) + 1))
    with tqdm(total=len(paths), initial=kept.done, desc="vectors", unit=" pictures") as progress:
        for start in range(kept.done, len(paths), ENCODE_BATCH):
            views = [open_picture(path) for path in paths[start : start + ENCODE_BATCH]]
            maps = encoder.maps(views + views[-1:] * (ENCODE_BATCH - len(views)))
            for number in range(len(views)):
                mine = by_image[firsts[start + number] : firsts[start + number + 1]]
                if len(mine):
                    where = torch.from_numpy(boxes[mine]), torch.from_numpy(masks[mine])
                    made = pooled(maps[number : number + 1], *where, encoder.size)
                    kept.write(mine, made.numpy())
            kept.finished(start + len(views), last=start + len(views) == len(paths))
            progress.update(len(views))


def _referenced(store: Store, image: Integers) -> list[Path]:
    """Return the pictures that have references, which come before those of the bands alone."""
    return store.pictures()[: int(image.max(initial=-1)) + 1]


class _Waiting:
    """The maps of some pictures' references, until it is known what else they need.

    What the pixels' relevance has no part in is localised at once; the rest when that has come,
    which is the last of a block.
    """

    def __init__(
        self,
        rows: "_References",
        fields: dict[str, ReceptiveField],
        size: tuple[int, int],
        boxes: Integers,
        masks: npt.NDArray[np.uint8],
    ) -> None:
        self._rows, self._fields, self._size = rows, fields, size
        self._boxes, self._masks = boxes, masks
        self._maps: list[tuple[str, Integers, Tensor, Tensor]] = []

    def visit(self, first: int, layer: str, mode: Mode, maps: Tensor) -> None:
        """Take the maps of a layer, or the relevance of the pixels, of pictures from `first` on."""
        if layer == PIXELS:
            self.settle(localise.heat_of(maps).cpu())
            return
        chosen = self._rows.of(layer, mode, first, first + len(maps))
        if not len(chosen):
            return
        picture = torch.from_numpy(self._rows.image[chosen] - first)
        picked = maps[picture, torch.from_numpy(self._rows.channel[chosen])].float().cpu()
        if localise.is_large(self._fields[layer], self._size):
            self._maps.append((layer, chosen, picture, picked))
        else:
            self._localise(layer, chosen, picked, None)

    def settle(self, heat: Tensor | None) -> None:
        """Localise what waits."""
        for layer, chosen, picture, picked in self._maps:
            self._localise(layer, chosen, picked, None if heat is None else heat[picture])
        self._maps.clear()

    def _localise(self, layer: str, chosen: Integers, maps: Tensor, heat: Tensor | None) -> None:
        field, peaks = self._fields[layer], torch.from_numpy(self._rows.peak[chosen])
        found = localise.boxes(maps, peaks, field, self._size, heat)
        self._boxes[chosen] = found.numpy()
        self._masks[chosen] = localise.masks(maps, found, field, self._size, heat).numpy()


class _References:
    """Rows of references.parquet, found by layer, mode and a range of pictures."""

    def __init__(self, store: Store) -> None:
        table = store.table("references")
        self.count = table.num_rows
        self.image: Integers = table["image"].to_numpy().astype(np.int64)
        self.channel: Integers = table["channel"].to_numpy().astype(np.int64)
        columns = [table[name].to_numpy().astype(np.int64) for name in ("y", "x")]
        self.peak: Integers = np.stack(columns, axis=1)
        layers = np.array(table["layer"].to_pylist())
        modes = np.array(table["mode"].to_pylist())
        self._groups: dict[tuple[str, str], Integers] = {}
        for layer in dict.fromkeys(layers.tolist()):
            for mode in ("activation", "relevance"):
                group = np.flatnonzero((layers == layer) & (modes == mode))
                by_image = np.argsort(self.image[group], kind="stable")
                self._groups[layer, mode] = group[by_image]

    def of(self, layer: str, mode: Mode, first: int, stop: int) -> Integers:
        """Return the rows whose picture is in `range(first, stop)`."""
        group = self._groups.get((layer, mode))
        if group is None:  # every channel of the layer is silent on all pictures
            return np.empty(0, np.int64)
        low, high = np.searchsorted(self.image[group], (first, stop))
        return group[low:high]


def _nearest(
    sums: npt.NDArray[np.float64],
) -> tuple[list[npt.NDArray[np.int32]], list[npt.NDArray[np.float32]]]:
    """Return the most similar other channels of each and the cosine of their mean vectors.

    Channels without references have no vector; they are nobody's neighbour and have none.
    """
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unit = (sums / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    silent = lengths[:, 0] == 0
    nearest: list[npt.NDArray[np.int32]] = []
    similarities: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(unit), COMPARED):
        block = unit[start : start + COMPARED] @ unit.T
        block[:, silent] = block[silent[start : start + COMPARED]] = -np.inf
        np.fill_diagonal(block[:, start:], -np.inf)
        for row in block:
            best = _highest(row, NEIGHBOURS)
            best = best[row[best] > -np.inf]
            nearest.append(best.astype(np.int32))
            similarities.append(row[best])
    return nearest, similarities


def _highest(values: npt.NDArray[np.float32], count: int) -> Integers:
    """Return the places of the `count` highest values, the highest first, then the earliest."""
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        places = np.flatnonzero(values >= least)
    else:
        places = np.arange(len(values))
    return places[np.argsort(-values[places], kind="stable")[:count]]
