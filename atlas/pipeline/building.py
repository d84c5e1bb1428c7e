"""The whole way: from a recipe to a site."""

from pathlib import Path

from atlas import site
from atlas.pipeline.annotating import name, score
from atlas.pipeline.indexing import index
from atlas.pipeline.stages import alone
from atlas.recipe import Recipe
from atlas.store import Store


def build(recipe: Recipe, out: Path) -> Store | None:
    """Run every stage as far as it is not done, and make the site.

    Channels are named if the recipe has a method of naming, and their names scored if it asks
    for that.
    """
    store = index(recipe, out)
    if store is None:
        return None
    if recipe.naming.method:
        name(store, recipe)
        if recipe.scoring.in_build:
            score(store, recipe)
    make_site(store)
    return store


def make_site(store: Store) -> None:
    """Render the pages of a finished atlas and build the static site."""
    with alone(store):
        site.render(store)
        site.build(store)
