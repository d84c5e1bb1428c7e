"""Crop a patch from every reference, say where in it the concept lies, and index its vector."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from atlas.model.preprocessing import Preprocessing
from atlas.model.receptive import ReceptiveField
from atlas.patches import localise, vectors
from atlas.patches.encoders import Encoder
from atlas.relevance.engine import PREDICTED, Engine, measure
from atlas.store import INDEX, Mode, Store
from atlas.store.pictures import open_picture

ENCODE_BATCH = 32
"""Patches encoded at once; always this many, so that no vector depends on its neighbours."""

NEIGHBOURS = 12
"""Similar channels that channels.parquet lists for each channel."""

Integers = npt.NDArray[np.int64]


def localise_patches(
    store: Store,
    engine: Engine,
    fields: dict[str, ReceptiveField],
    preprocessing: Preprocessing,
    target: str,
    batch_size: int,
    device: torch.device,
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
    preprocessing : Preprocessing
        The one of the pre-pass.
    target : {"label", "predicted"}
        Whose relevance the references were chosen by.
    batch_size : int
        Pictures that are read together.
    device : torch.device
        Where the network is.
    """
    rows = _Rows(store)
    images = store.table("images").to_pydict()
    known = [PREDICTED if label is None else label for label in images["label"]]
    targets = torch.tensor(known if target == "label" else [PREDICTED] * len(known))
    side = preprocessing.crop
    boxes = np.zeros((rows.count, 4), np.int64)
    masks = np.zeros((rows.count, localise.MASK_SIDE, localise.MASK_SIDE), np.uint8)

    paths = [store.root / path for path in images["path"]]
    for start in tqdm(range(0, len(paths), batch_size), desc="where", unit=" batches"):
        views = [open_picture(path) for path in paths[start : start + batch_size]]
        batch = preprocessing.tensor(views).to(device)

        def visit(part: slice, layer: str, mode: Mode, maps: Tensor, start: int = start) -> None:
            first = start + part.start
            chosen = rows.of(layer, mode, first, first + len(maps))
            picture = torch.from_numpy(rows.image[chosen] - first)
            picked = maps[picture, torch.from_numpy(rows.channel[chosen])].cpu()
            found = localise.boxes(picked, torch.from_numpy(rows.peak[chosen]), fields[layer], side)
            boxes[chosen] = found.numpy()
            masks[chosen] = localise.masks(picked, found, fields[layer], side).numpy()

        measure(engine, batch, targets[start : start + batch_size].to(device), visit)

    store.write_array("masks.npy", masks)
    store.extend_table("references", dict(zip(("x0", "y0", "x1", "y1"), boxes.T, strict=True)))


def index_patches(store: Store, encoder: Encoder) -> dict[str, str | int | float]:
    """Encode every patch, write the FAISS index and each channel's nearest channels.

    Parameters
    ----------
    store : Store
        With patch boxes and stored pictures.
    encoder : Encoder
        From patches to vectors.

    Returns
    -------
    dict
        What the manifest says about the index.
    """
    references = store.table("references")
    count = references.num_rows
    columns = [references[name].to_numpy() for name in ("image", "x0", "y0", "x1", "y1")]
    where = np.stack(columns, axis=1)
    channel_of = _channel_rows(store)
    paths = [str(store.root / path) for path in store.table("images")["path"].to_pylist()]

    dimension = next(_encode(encoder, paths, where[:1], "first")).shape[1]
    size = vectors.sample_size(count, dimension)
    sampled = np.linspace(0, count - 1, size).astype(np.int64)
    sample = np.zeros((size, dimension), np.float32)
    if size:
        sample = np.concatenate(list(_encode(encoder, paths, where[sampled], "sample")))
    sums = np.zeros((store.table("channels").num_rows, dimension))

    def chunks() -> Iterator[vectors.Vectors]:
        done = 0
        for chunk in _encode(encoder, paths, where, "patches"):
            np.add.at(sums, channel_of[done : done + len(chunk)], chunk)
            done += len(chunk)
            yield chunk

    built = vectors.build(chunks(), sample, count, dimension)
    vectors.save(built.index, store.root / INDEX)
    nearest, similarity = _nearest(sums)
    store.extend_table("channels", {"neighbours": nearest, "neighbour_similarities": similarity})
    return {
        "encoder": encoder.name,
        "dimension": dimension,
        "factory": built.factory,
        "recall_at_10": round(built.recall, 4),
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
    encoder: Encoder, paths: Sequence[str], where: Integers, label: str
) -> Iterator[vectors.Vectors]:
    """Yield the vectors of the patches (image, x0, y0, x1, y1) in chunks, in their order."""
    with tqdm(total=len(where), desc=label, unit=" patches") as progress:
        for start in range(0, len(where), ENCODE_BATCH):
            rows = where[start : start + ENCODE_BATCH]
            crops = [open_picture(paths[row[0]]).crop(tuple(row[1:])) for row in rows.tolist()]
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
