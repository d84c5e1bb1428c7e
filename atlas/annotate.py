"""What is said about a finished atlas: names and their scores, kept in its tables."""

from collections.abc import Callable

from atlas import names, vlm
from atlas.errors import UserError
from atlas.names import NameRecord
from atlas.naming import run as naming
from atlas.pipeline import alone
from atlas.recipe import Naming, Recipe
from atlas.store import Store


def name(store: Store, recipe: Recipe) -> dict[str, int]:
    """Name every channel by the recipe's method, as far as that is not done.

    Returns
    -------
    dict of str to int
        How many channels are named, have no clear concept, are unnamed or were not asked about.

    Raises
    ------
    UserError
        The model cannot be loaded, or the atlas is not finished.
    """
    settings = recipe.naming
    with alone(store):
        _finished(store)
        naming.run(store, vlm.load(loading(settings)), settings)
        return _written(store, recipe)


def rename(store: Store, recipe: Recipe, address: str, new: str, by: str) -> None:
    """Record a person's name for a channel, which wins over all others.

    Raises
    ------
    UserError
        There is no such channel, or the name is empty.
    """
    text = " ".join(new.split())
    if not text or not by.strip():
        raise UserError('write a name and who gives it: atlas rename ATLAS L:C "name" --by "who"')
    layer, _, number = address.rpartition(":")
    with alone(store):
        _finished(store)
        table = store.table("channels").select(["layer", "channel"]).to_pydict()
        if (layer, number) not in zip(table["layer"], map(str, table["channel"]), strict=True):
            known = ", ".join(dict.fromkeys(table["layer"]))
            raise UserError(f"no channel {address}: write LAYER:CHANNEL with a layer of {known}")
        record = NameRecord(layer, int(number), "person", by.strip(), "named", text)
        names.append(store, [record], len(names.read(store)))
        _written(store, recipe)


def loading(settings: Naming) -> vlm.Loading:
    """Return how the recipe's vision-language model is loaded."""
    return vlm.Loading(
        settings.vlm,
        settings.revision,
        settings.dtype,
        settings.device,
        settings.quantization,
        settings.batch_size,
        settings.max_tokens,
    )


def _finished(store: Store) -> None:
    if "patches" not in store.manifest().get("stages", {}):
        raise UserError(f"{store.root} is not finished: run `atlas index` on its recipe to go on")


def _written(store: Store, recipe: Recipe) -> dict[str, int]:
    counts: dict[str, int] = {}

    def write() -> None:
        counts.update(names.write_columns(store, recipe.naming.method or "vlm"))

    _changing(store, write)
    return counts


def _changing(store: Store, change: Callable[[], None]) -> None:
    """Change tables, and bring their checksums in the manifest up to date."""
    change()
    store.write_manifest({**store.manifest(), "files": store.checksums()})
