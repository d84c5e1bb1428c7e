"""Folders of zennit-crp's FeatureVisualization: its references, read and written.

`RelMax_sum_normed/` and `ActMax_sum_normed/` hold three arrays of (k, channels) for each layer,
best first: `LAYER_data.npy` (samples of the data set), `LAYER_rel.npy` (scores) and
`LAYER_rf.npy` (peak units on the flattened map).
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atlas.errors import UserError, one_line
from atlas.plain import slug, slugs
from atlas.recipe import Activation, Relevance
from atlas.store import Mode, Store, files

_PREFIX: dict[Mode, str] = {"activation": "ActMax", "relevance": "RelMax"}

_PARTS = ("rel", "data", "rf")


def folder_name(mode: Mode, rule: Activation | Relevance) -> str:
    """Return the folder of one mode: `RelMax_sum_normed`."""
    return f"{_PREFIX[mode]}_{rule.aggregate}_{'normed' if rule.normalize else 'unnormed'}"


def read(
    root: Path, layer: str, mode: Mode, rule: Activation | Relevance, positions: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Read the references of one layer.

    Parameters
    ----------
    root : Path
        What FeatureVisualization got as `path`.
    layer : str
        Name of the layer.
    mode : {"activation", "relevance"}
        Which references.
    rule : Activation or Relevance
        Aggregation and normalisation, which decide the folder.
    positions : int
        Size of the layer's map, height times width.

    Returns
    -------
    tuple of ndarray
        Scores, samples of the data set, and peak units on the flattened map, (k, channels) each,
        best first. The order of equal scores is left open.

    Raises
    ------
    UserError
        The files are missing, cannot be read, or do not fit each other or the layer.
    """
    stem = root / folder_name(mode, rule) / slug(layer)
    try:
        scores, samples, peaks = (
            np.load(f"{stem}_{part}.npy", allow_pickle=False) for part in _PARTS
        )
    except FileNotFoundError as error:
        there = ", ".join(sorted(path.name for path in root.glob("*Max_*"))) or "none"
        raise UserError(
            f"{stem}_{{{','.join(_PARTS)}}}.npy are not all there (folders in {root}: {there}): "
            "give the path that FeatureVisualization got, and its max_target and abs_norm as "
            f"{mode}.aggregate and {mode}.normalize"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{stem}_*.npy cannot be read ({one_line(error)}): copy them anew"
        ) from error
    if not (scores.ndim == 2 and scores.shape == samples.shape == peaks.shape):
        raise UserError(f"{stem}_*.npy are not three arrays of one shape: copy them anew")
    if peaks.size and not 0 <= peaks.min() <= peaks.max() < positions:
        raise UserError(f"{stem}_rf.npy has units that the layer's map of {positions} lacks")
    return scores.astype(np.float32), samples.astype(np.int64), peaks.astype(np.int64)


def write(store: Store, out: Path) -> list[Path]:
    """Write the references of an atlas as zennit-crp does.

    Samples are those of the atlas's data source. Channels with fewer than k references are
    filled up with their best one at a score of zero.

    Parameters
    ----------
    store : Store
        A finished atlas.
    out : Path
        Directory to write into.

    Returns
    -------
    list of Path
        The folders written.
    """
    manifest = store.manifest()
    samples = store.table("images")["index"].to_numpy()
    folders = []
    for mode in manifest.get("modes", ["activation", "relevance"]):
        kind = Activation if mode == "activation" else Relevance
        folder = out / folder_name(mode, kind(**manifest[mode]))
        of_layers = _arrays(store, mode, samples, manifest["maps"])
        stems = slugs(of_layers)
        for layer, arrays in of_layers.items():
            for part, array in zip(_PARTS, arrays, strict=True):
                name = folder / f"{stems[layer]}_{part}.npy"
                with files.atomic_path(name) as path, path.open("wb") as file:
                    np.save(file, array, allow_pickle=False)
        folders.append(folder)
    return folders


def _arrays(
    store: Store, mode: Mode, samples: npt.NDArray[Any], maps: dict[str, list[int]]
) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]]:
    """Return scores, samples and peaks of each layer, (k, channels) each."""
    table = store.table("references").to_pandas()
    counts = store.table("channels").to_pandas().groupby("layer", sort=False).size()
    arrays = {}
    for layer, channels in counts.items():
        rows = table[(table["layer"] == layer) & (table["mode"] == mode)]
        k = int(rows["rank"].max()) + 1 if len(rows) else 1
        scores = np.zeros((k, channels), np.float32)
        found, peaks = np.zeros((k, channels), np.int64), np.zeros((k, channels), np.int64)
        best = rows[rows["rank"] == 0]
        found[:, best["channel"]] = samples[best["image"]]
        where = rows["rank"].to_numpy(), rows["channel"].to_numpy()
        scores[where] = rows["score"]
        found[where] = samples[rows["image"]]
        peaks[where] = rows["y"] * maps[str(layer)][1] + rows["x"]
        arrays[str(layer)] = scores, found, peaks
    return arrays
