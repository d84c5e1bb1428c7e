"""The folder of exemplars that MILAN (Hernandez et al. 2022) and its successors read.

For each layer `LAYER/images.npy`, uint8 (channels, k, 3, height, width), and `LAYER/masks.npy`,
uint8 (channels, k, 1, height, width): the whole reference pictures and, as zeros and ones, where
in them the channel is active.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from atlas.plain import slugs
from atlas.store import Mode, Store, files
from atlas.store.pictures import read_picture

ACTIVE = 128
"""Value (of 255) from which a place is active: half of the largest value in a patch."""


def write(store: Store, out: Path, mode: Mode) -> None:
    """Write the references of one mode.

    Places without a reference stay black, with an empty mask.

    Parameters
    ----------
    store : Store
        A finished atlas.
    out : Path
        Directory to write into.
    mode : {"activation", "relevance"}
        Which references.
    """
    images = store.table("images").to_pandas()
    references = store.table("references").to_pandas()
    channels = store.table("channels").to_pandas().groupby("layer", sort=False).size()
    masks = store.array("masks.npy")
    height, width = int(images["height"].max()), int(images["width"].max())
    of_mode = references[references["mode"] == mode]
    with tqdm(total=len(of_mode), desc="exemplars") as progress:
        stems = slugs(map(str, channels.index))
        for layer, count in channels.items():
            rows = of_mode[of_mode["layer"] == layer]
            k = int(rows["rank"].max()) + 1 if len(rows) else 1
            with (
                files.atomic_path(out / stems[str(layer)] / "images.npy") as image_path,
                files.atomic_path(out / stems[str(layer)] / "masks.npy") as mask_path,
            ):
                shape = (int(count), k, 3, height, width)
                pixels = _array(image_path, shape)
                active = _array(mask_path, (int(count), k, 1, height, width))
                for row in rows.itertuples():
                    view = np.asarray(read_picture(store.inside(images["path"][row.image])))
                    pixels[row.channel, row.rank] = view.transpose(2, 0, 1)
                    box = (row.x0, row.y0, row.x1, row.y1)
                    active[row.channel, row.rank, 0] = _mask(masks[row.Index], box, height, width)
                    progress.update()
                pixels.flush()
                active.flush()


def _array(path: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
    """Return an empty array in a file: those of VGG16's last layers exceed 3 GB."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _mask(
    inside: npt.NDArray[np.uint8], box: tuple[int, int, int, int], height: int, width: int
) -> npt.NDArray[np.uint8]:
    """Return the mask of a patch in the whole picture."""
    x0, y0, x1, y1 = box
    patch = Image.fromarray(inside).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
    whole = np.zeros((height, width), np.uint8)
    whole[y0:y1, x0:x1] = np.asarray(patch) >= ACTIVE
    return whole
