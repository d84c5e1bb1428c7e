"""What the channels and factors of a finished atlas react to."""

from atlas.influences.measuring import influence_columns
from atlas.pipeline.inputs import check_weights, fingerprint, opened
from atlas.pipeline.stages import alone, check_finished
from atlas.pipeline.trust import OWN, Border
from atlas.recipe import Recipe
from atlas.store import Store, bases

INFLUENCING = 1
"""Raised when influences are measured in another way, so that those of older atlases are anew."""

RECORD = "influences"
"""Field of the manifest that says by what they were measured."""


def influence(store: Store, recipe: Recipe, border: Border = OWN) -> int:
    """Measure what channels and factors react to, as far as that is not done.

    Parameters
    ----------
    store : Store
        A finished atlas.
    recipe : Recipe
        Its recipe; of its table `[influences]` anything may have changed.
    border : Border
        What of the recipe may be opened.

    Returns
    -------
    int
        How many channels and factors were measured.

    Raises
    ------
    UserError
        The atlas is not finished, or its network is another one now.
    """
    measured = 0
    with alone(store):
        check_finished(store)
        for part in bases.parts(store):
            measured += _measured(part, recipe, border)
    return measured


def _measured(part: Store, recipe: Recipe, border: Border) -> int:
    """Measure the channels of an atlas, or its factors, unless that is done."""
    settings, manifest = recipe.influences, part.manifest()
    by = [manifest["id"], manifest["stages"]["patches"], settings.references, settings.seed]
    wanted = fingerprint([*by, INFLUENCING])
    has = "influence" in part.table("channels").column_names
    if has and manifest.get(RECORD) == wanted:
        return 0
    inputs = opened(part, recipe, border)
    check_weights(part, inputs.network)
    network = inputs.network
    columns = influence_columns(
        part, inputs.activations, network.preprocessing, network.device,
        settings.references, settings.seed,
    )  # fmt: skip
    part.extend_table("channels", columns)
    part.write_manifest({**part.manifest(), RECORD: wanted, "files": part.checksums()})
    return part.rows("channels")
