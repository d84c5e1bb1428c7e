"""Crop a patch from every reference, say where in it the concept lies, and index its vector."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from atlas.errors import UserError
from atlas.model.preprocessing import Preprocessor
from atlas.patches import localise, vectors
from atlas.patches.encoders import Encoder
from atlas.relevance.engine import PREDICTED, Engine, measure
from atlas.store import INDEX, Mode, Store
from atlas.store.pictures import open_picture
from atlas.store.unfinished import Unfinished
from atlas.trace.sights import ReceptiveField

ENCODE_BATCH = 32
"""Patches encoded at once; always this many, so that no vector depends on its neighbours."""

NEIGHBOURS = 12
"""Similar channels that channels.parquet lists for each channel."""

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

    Every stored picture goes through the engine once; its maps serve all its references.

    Parameters
    ----------
    store : Store
        With references and stored pictures.
    engine : Engine
        The one of the pre-pass.
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
    rows = _Rows(store)
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

    paths = store.pictures()
    batches = range(int(done[0]), len(paths), batch_size)
    for start in tqdm(batches, desc="where", unit=" batches"):
        views = [open_picture(path) for path in paths[start : start + batch_size]]
        batch = preprocessing.tensor(views).to(device)

        def visit(part: slice, layer: str, mode: Mode, maps: Tensor, start: int = start) -> None:
            first = start + part.start
            chosen = rows.of(layer, mode, first, first + len(maps))
            picture = torch.from_numpy(rows.image[chosen] - first)
            picked = maps[picture, torch.from_numpy(rows.channel[chosen])].cpu()
            found = localise.boxes(picked, torch.from_numpy(rows.peak[chosen]), fields[layer], size)
            boxes[chosen] = found.numpy()
            masks[chosen] = localise.masks(picked, found, fields[layer], size).numpy()

        measure(engine, batch, targets[start : start + batch_size].to(device), visit)
        done[0] = start + len(views)
        if unfinished.due() or done[0] == len(paths):
            unfinished.save({"done": done, "boxes": boxes, "masks": masks})

    store.write_array("masks.npy", masks)
    store.extend_table("references", dict(zip(("x0", "y0", "x1", "y1"), boxes.T, strict=True)))


def index_patches(
    store: Store, encoder: Encoder, unfinished: Unfinished
) -> dict[str, str | int | float]:
    """Encode every patch, write the FAISS index and each channel's nearest channels.

    Parameters
    ----------
    store : Store
        With patch boxes and stored pictures.
    encoder : Encoder
        From patches to vectors.
    unfinished : Unfinished
        Where the index is kept while it grows.

    Returns
    -------
    dict
        What the manifest says about the index.
    """
    references = store.table("references")
    count = references.num_rows
    if not count:
        raise UserError("no channel answers to any picture: look at model.weights and model.layers")
    columns = [references[name].to_numpy() for name in ("image", "x0", "y0", "x1", "y1")]
    where = np.stack(columns, axis=1)
    channel_of = _channel_rows(store)
    paths = [str(path) for path in store.pictures()]

    dimension = next(_encode(encoder, paths, where[:1], "first")).shape[1]
    if begun := unfinished.load():
        growing = vectors.unpack(vectors.factory(count, dimension), begun)
        sums = begun["sums"]
    else:
        sampled = np.linspace(0, count - 1, vectors.sample_size(count, dimension)).astype(np.int64)
        sample = [np.zeros((0, dimension), np.float32)]
        sample += _encode(encoder, paths, where[sampled], "sample") if len(sampled) else []
        growing = vectors.begin(np.concatenate(sample), count, dimension)
        sums = np.zeros((store.table("channels").num_rows, dimension))

    for chunk in _encode(encoder, paths, where, "patches", growing.index.ntotal):
        done = growing.index.ntotal
        np.add.at(sums, channel_of[done : done + len(chunk)], chunk)
        vectors.add(growing, chunk)
        if unfinished.due():
            unfinished.save({"sums": sums, **vectors.pack(growing)})
    vectors.save(growing.index, store.root / INDEX)
    nearest, similarity = _nearest(sums)
    store.extend_table("channels", {"neighbours": nearest, "neighbour_similarities": similarity})
    return {
        "encoder": encoder.name,
        "dimension": dimension,
        "factory": growing.factory,
        "recall_at_10": round(vectors.recall(growing), 4),
    }


class _Rows:
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
        group = self._groups[layer, mode]
        low, high = np.searchsorted(self.image[group], (first, stop))
        return group[low:high]


def _channel_rows(store: Store) -> Integers:
    """Return for each reference the row of its channel in channels.parquet."""
    channels = store.table("channels").select(["layer", "channel"]).to_pydict()
    pairs = zip(channels["layer"], channels["channel"], strict=True)
    row = {pair: number for number, pair in enumerate(pairs)}
    references = store.table("references").select(["layer", "channel"]).to_pydict()
    wanted = zip(references["layer"], references["channel"], strict=True)
    return np.array([row[pair] for pair in wanted])


def _encode(
    encoder: Encoder, paths: Sequence[str], where: Integers, label: str, done: int = 0
) -> Iterator[vectors.Vectors]:
    """Yield the vectors of the patches (image, x0, y0, x1, y1) in chunks, in their order.

    Those before `done`, a multiple of `ENCODE_BATCH`, are left out.
    """

    def crop(row: Sequence[int]) -> Image.Image:
        x0, y0, x1, y1 = row[1:]
        return open_picture(paths[row[0]]).crop((x0, y0, x1, y1))

    with (
        tqdm(total=len(where), initial=done, desc=label, unit=" patches") as progress,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        for start in range(done, len(where), ENCODE_BATCH):
            rows = where[start : start + ENCODE_BATCH].tolist()
            crops = [*threads.map(crop, rows)]
            crops += crops[-1:] * (ENCODE_BATCH - len(crops))
            yield encoder.encode(crops)[: len(rows)]
            progress.update(len(rows))


def _nearest(
    sums: npt.NDArray[np.float64],
) -> tuple[list[npt.NDArray[np.int32]], list[npt.NDArray[np.float32]]]:
    """Return the most similar other channels of each and the cosine of their mean vectors.

    Channels without references have no vector; they are nobody's neighbour and have none.
    """
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unit = sums / np.where(lengths == 0, 1, lengths)
    similarity = (unit @ unit.T).astype(np.float32)
    silent = lengths[:, 0] == 0
    similarity[silent] = similarity[:, silent] = -np.inf
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable").astype(np.int32)[:, :NEIGHBOURS]
    known = [row[similarity[channel, row] > -np.inf] for channel, row in enumerate(nearest)]
    return known, [similarity[channel, row] for channel, row in enumerate(known)]
