"""Put the pictures of the data into an atlas that came without them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from atlas.data import open_source
from atlas.data.images import BadImage
from atlas.errors import UserError
from atlas.indexing.pictures import WEBP_QUALITY
from atlas.model.preprocessing import Preprocessor
from atlas.recipe import recorded
from atlas.store import Store, files


def fill(store: Store, folder: Path) -> None:
    """Store the pictures that images.parquet lists and the atlas lacks, from the data in `folder`.

    A picture is taken if it has the key that it had in the pre-pass.

    Parameters
    ----------
    store : Store
        An atlas with all of its tables.
    folder : Path
        The data: class folders, or Parquet or WebDataset shards, as the recipe had them.

    Raises
    ------
    UserError
        `folder` does not have the pictures, or is not what the recipe says.
    """
    manifest = store.manifest()
    table = store.table("images").select(["index", "key", "path"]).to_pydict()
    rows = zip(table["index"], table["key"], table["path"], strict=True)
    wanted_files = ((index, key, store.inside(path)) for index, key, path in rows)
    missing: dict[int, tuple[str, Path]] = {
        index: (key, path) for index, key, path in wanted_files if not path.is_file()
    }
    if not missing:
        return
    data = recorded(manifest).data
    kind = data.source.partition(":")[0]
    source = open_source(replace(data, source=f"{kind}:{folder}"))
    preprocessing = Preprocessor(**_tuples(manifest["preprocessing"]))
    count = len(missing)
    wanted = [n for n in sorted(missing) if source.count is None or n < source.count]
    for record in tqdm(source.fetch(wanted), desc="pictures", total=count):
        key, path = missing[record.index]
        if record.key != key:
            continue
        try:
            view = preprocessing.view(record.picture())
        except BadImage:
            continue
        with files.atomic_path(path) as temporary:
            view.save(temporary, "WEBP", quality=WEBP_QUALITY, method=4)
        del missing[record.index]
    if missing:
        key = next(iter(missing.values()))[0]
        raise UserError(
            f"{folder} lacks {len(missing)} of {count} pictures, such as {key}: give the folder of "
            f"the data that the atlas was made from ({data.source})"
        )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
