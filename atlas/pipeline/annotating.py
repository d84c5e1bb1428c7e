"""What is said about a finished atlas: names and their scores, kept in its tables."""

import sys
from collections.abc import Mapping
from dataclasses import replace

from tqdm import tqdm

from atlas import addresses
from atlas.api.contents import Contents
from atlas.data.hierarchy import superclasses
from atlas.errors import UserError
from atlas.naming import asking, clip, labels
from atlas.pipeline.inputs import Inputs, opened
from atlas.pipeline.models import asked, help_out, reaching, sharing_with
from atlas.pipeline.stages import alone, check_finished
from atlas.pipeline.trust import NETWORK, OWN, Border
from atlas.plain import plain, unseen
from atlas.prepass.processes import ALONE, Team
from atlas.probe import formulas
from atlas.probe.probe import Probe, measure_responses
from atlas.recipe import Recipe
from atlas.scoring import testing
from atlas.scoring.testing import Shown
from atlas.store import Store, byweights, names, standing
from atlas.store.joined import joined
from atlas.store.names import NameRecord
from atlas.vlm.files import Exchange

LONGEST_NAME = 100
"""Characters of a name that a person gives, and of who that is."""


def name(
    store: Store,
    recipe: Recipe,
    border: Border = OWN,
    exchange: Exchange | None = None,
    team: Team = ALONE,
) -> dict[str, int] | None:
    """Name every channel by the recipe's method, as far as that is not done.

    Parameters
    ----------
    store : Store
        A finished atlas.
    recipe : Recipe
        Its recipe.
    border : Border
        What of the recipe may be opened.
    exchange : Exchange, optional
        Files by which a vision-language model is asked.
    team : Team
        The processes of this run. The first one names; those that have the model help it.

    Returns
    -------
    dict of str to int, or None
        How many channels are named, have no clear concept, are unnamed or were not asked about;
        None in the processes that only helped.

    Raises
    ------
    UserError
        The model cannot be loaded, or the atlas is not finished.
    """
    settings = recipe.naming
    if exchange is not None and settings.method not in ("", "vlm"):
        raise UserError(
            f"naming.method = {settings.method!r} asks no model, so that there are no questions: "
            "add --set naming.method=vlm"
        )
    by_vlm = settings.method in ("", "vlm")
    sharing = sharing_with(team, settings, exchange) if by_vlm else ALONE
    if not team.first:
        _help(recipe, border, sharing)
        return None
    with alone(store):
        check_finished(store)
        if settings.method == "labels":
            above = _superclasses(store, recipe, border)
            inputs = opened(store, recipe, border)
            responses = measure_responses(store, _probe(inputs), settings.pictures, recipe.seed)
            labels.run(store, responses, f"labels of {inputs.source.name}", above)
        elif settings.method == "clip":
            border.check(recipe, "naming.words", "naming.clip", *NETWORK)
            phrases = clip.read_phrases(settings.words)
            with reaching(settings.clip):
                model = clip.load(settings.clip, settings.clip_revision)
            probe = _probe(opened(store, recipe, border))
            responses = measure_responses(store, probe, settings.pictures, recipe.seed)
            clip.run(store, model, responses, phrases)
        else:
            border.check(
                recipe, "naming.prompt", "scoring.prompt", *([] if exchange else ["naming.vlm"])
            )
            responses = None
            if settings.contrast:
                probe = _probe(opened(store, recipe, border))
                responses = measure_responses(store, probe, settings.pictures, recipe.seed)
            with asked(store, settings, exchange, sharing) as namer:
                together = replace(settings, batch_size=settings.batch_size * sharing.size)
                asking.name_channels(store, namer, together, recipe.scoring.prompt, responses)
        return write_names(store, recipe)


def score(
    store: Store,
    recipe: Recipe,
    border: Border = OWN,
    exchange: Exchange | None = None,
    team: Team = ALONE,
) -> int | None:
    """Test every name on patches that it was not made from; return how many were tested.

    Parameters
    ----------
    store : Store
        A finished atlas with names.
    recipe : Recipe
        Its recipe.
    border : Border
        What of the recipe may be opened.
    exchange, team
        What `name` takes.

    Raises
    ------
    UserError
        There are no names yet, or the model or the network cannot be loaded.
    """
    settings, naming_ = recipe.scoring, recipe.naming
    sharing = sharing_with(team, naming_, exchange)
    if not team.first:
        _help(recipe, border, sharing)
        return None
    with alone(store):
        check_finished(store)
        table = store.table("channels")
        if "name" not in table.column_names or not any(table["name"].to_pylist()):
            raise UserError(f"{store.root} has no names to score: run `atlas name` first")
        if not store.has_table("bands") or not store.rows("bands"):
            raise UserError(
                f"{store.root} keeps no pictures of the whole range of its channels, on which "
                "names are tested: run `atlas index` on its recipe with prepass.bands = 6, and "
                "name it again"
            )
        border.check(recipe, "scoring.prompt", *([] if exchange else ["naming.vlm"]))
        probe = _probe(opened(store, recipe, border))
        shown = Shown(naming_.view, naming_.side)
        above = _superclasses(store, recipe, border)
        with asked(store, naming_, exchange, sharing) as model:
            tested = testing.score_names(store, model, probe, settings, shown, above)
        standing.write_columns(store, naming_.method or "vlm")
        _record_checksums(store)
        return tested


def rename(store: Store, recipe: Recipe, address: str, new: str, by: str) -> None:
    """Record a person's name for a channel, which wins over all others.

    Raises
    ------
    UserError
        There is no such channel, or the name is empty, too long, or has characters that nobody
        sees.
    """
    text, who = plain(new), plain(by)
    if not text or not who:
        raise UserError('write a name and who gives it: atlas rename ATLAS L:C "name" --by "who"')
    for given, shown in ((new, text), (by, who)):
        if found := unseen(given):
            raise UserError(
                f"{shown!r} has the character U+{ord(found):04X} in it, which nobody sees: leave "
                "it out"
            )
        if len(shown) > LONGEST_NAME:
            raise UserError(
                f"{shown[:20] + '…'!r} has {len(shown)} characters: write at most {LONGEST_NAME}"
            )
    layer, _, number = address.rpartition(":")
    with alone(store):
        check_finished(store)
        table = store.table("channels").select(["layer", "channel"]).to_pydict()
        known = [f"{at}:{one}" for at, one in zip(table["layer"], table["channel"], strict=True)]
        if address not in known:
            whole = Contents(joined(Store(store.home) if store.home else store))
            raise addresses.unknown(address, list(whole.rows), whole.id)
        record = NameRecord(layer, int(number), "person", who, "named", text)
        names.append(store, [record], len(names.read(store)))
        write_names(store, recipe)


def _help(recipe: Recipe, border: Border, sharing: Team) -> None:
    """Answer, in a process that is not the first, what that asks; nothing if it asks nobody."""
    if sharing.size > 1:
        border.check(recipe, "naming.vlm")
        help_out(recipe.naming, sharing)


def _probe(inputs: Inputs) -> Probe:
    network = inputs.network
    return Probe(inputs.activations, network.preprocessing, inputs.fields, network.device)


def _superclasses(store: Store, recipe: Recipe, border: Border) -> Mapping[str, frozenset[int]]:
    """Return which classes are below what, as the recipe's hierarchy or WordNet has it."""
    border.check(recipe, "data.hierarchy")
    found = superclasses(recipe.data.hierarchy, formulas.class_names(store))
    if found.remark:
        tqdm.write(f"hierarchy: {found.remark}", sys.stderr)
    return found.classes


def write_names(store: Store, recipe: Recipe) -> dict[str, int]:
    """Write what counts of names and their tests into the tables; return names by their status."""
    counts = names.write_columns(store, recipe.naming.method or "vlm")
    standing.write_columns(store, recipe.naming.method or "vlm")
    byweights.write_columns(store)
    _record_checksums(store)
    return counts


def _record_checksums(store: Store) -> None:
    """Bring the checksums in the manifest up to date after tables have changed."""
    store.write_manifest({**store.manifest(), "files": store.checksums()})
