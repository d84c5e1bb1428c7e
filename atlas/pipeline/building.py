"""The whole way: from a recipe to a site."""

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from atlas import site
from atlas.demo.world import CLASSES, draw
from atlas.errors import UserError
from atlas.explain.proving import check_texts, prover
from atlas.pipeline.annotating import name, score
from atlas.pipeline.explaining import explain
from atlas.pipeline.factoring import factorise
from atlas.pipeline.indexing import index
from atlas.pipeline.influencing import influence
from atlas.pipeline.inputs import fingerprint
from atlas.pipeline.making import make_pictures
from atlas.pipeline.stages import WEIGHTS, alone, stage
from atlas.pipeline.steps import Steps
from atlas.recipe import Recipe
from atlas.store import STAGES, Store

DRAWN = "demo:world"
"""Among the pictures to explain: some of the demo world that were not measured."""

DRAWINGS = 6

PICTURES_MADE = "pictures made"
"""The stage that makes pictures for channels."""


def build(recipe: Recipe, out: Path) -> Store | None:
    """Run every stage as far as it is not done, and make the site.

    Factors are found if the recipe names layers for them, what channels react to is measured if it
    asks for that, and pictures are made for the channels that it names for it; channels and factors
    are named if it has a method of naming, their names scored if it asks for that, and the pictures
    explained that it names.

    Raises
    ------
    UserError
        Names are to be scored, on pictures that are not to be kept; or what a stage raises.
    """
    if recipe.naming.method and recipe.scoring.in_build and not recipe.prepass.bands:
        raise UserError(
            "scoring.in_build tests names on the pictures that prepass.bands keeps: set it to 6, "
            "or scoring.in_build to false"
        )
    steps = Steps(_stages(recipe), recipe.prepass.progress)
    store = index(recipe, out, steps)
    if store is None:
        return None
    parts = [store]
    if recipe.factors.layers:
        with steps.step("factors"):
            parts.append(factorise(store, recipe))
    if recipe.influences.in_build:
        with steps.step("influences"):
            influence(store, recipe)
    if _pictures_wanted(recipe):
        with steps.step(PICTURES_MADE):
            make_pictures(store, recipe)
    if recipe.naming.method:
        with steps.step("names"):
            for part in parts:
                name(part, recipe)
        if recipe.scoring.in_build:
            with steps.step("scores"):
                for part in parts:
                    score(part, recipe)
    if recipe.explain.pictures:
        fingerprint_ = fingerprint([asdict(recipe.explain), store.manifest()["files"]])
        with alone(store):
            forget_unproved(store)
            stage(store, "explanations", fingerprint_, lambda: _explanations(store, recipe), steps)
    with steps.step("site"):
        make_site(store)
    return store


def _stages(recipe: Recipe) -> list[str]:
    """Return the stages of a build in their order."""
    named = bool(recipe.naming.method)
    wanted = {
        "factors": bool(recipe.factors.layers),
        "influences": recipe.influences.in_build,
        PICTURES_MADE: _pictures_wanted(recipe),
        "names": named,
        "scores": named and recipe.scoring.in_build,
        "explanations": bool(recipe.explain.pictures),
        "site": True,
    }
    return [*STAGES, WEIGHTS, *(stage for stage, asked in wanted.items() if asked)]


def _pictures_wanted(recipe: Recipe) -> bool:
    return bool(recipe.pictures_made.layers or recipe.pictures_made.addresses)


def _explanations(store: Store, recipe: Recipe) -> dict[str, Any]:
    """Explain the pictures that the recipe names."""
    with tempfile.TemporaryDirectory() as folder:
        paths: list[Path] = []
        for given in recipe.explain.pictures:
            paths += _drawn(recipe, Path(folder)) if given == DRAWN else [Path(given)]
        outcome = explain(store, recipe, paths, None, labelled=Path(folder))
    for path, reason in outcome.failed:
        tqdm.write(f"{path} is not explained: {reason}", sys.stderr)
    return {}


def _drawn(recipe: Recipe, folder: Path) -> list[Path]:
    """Draw pictures of the demo world that were not measured, in folders of their classes."""
    paths = []
    for number in range(DRAWINGS):
        picture = draw(recipe.data.seed, (recipe.data.limit or 0) + number)
        path = folder / CLASSES[picture.label] / f"drawing-{number + 1}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture.image).save(path)
        paths.append(path)
    return paths


def forget_unproved(store: Store) -> None:
    """Let a build explain pictures again if what was said of some does not follow any more.

    As where an earlier version wrote it: no site would be made of that.
    """
    manifest = store.manifest()
    if not all(one.passed for one in check_texts(store)):
        manifest["stages"].pop("explanations", None)
        store.write_manifest(manifest)


def make_site(store: Store) -> None:
    """Render the pages of a finished atlas and build the static site."""
    with alone(store):
        site.render(store, prove=prover(store))
        site.build(store)
