"""Whether the texts of explanations follow from their numbers, and these speak of the atlas."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from atlas.errors import UserError
from atlas.explain.claims.making import claims
from atlas.explain.narrative.choosing import obligatory
from atlas.explain.narrative.joining import joins, sentence
from atlas.plain import plain
from atlas.store import Store, bases, evidence, narrative, table
from atlas.store import claims as stored_claims
from atlas.store.claims import Claim
from atlas.store.evidence import Evidence
from atlas.store.joined import joined
from atlas.store.narrative import Narrative
from atlas.store.table import Row
from atlas.store.verify import Result, result


def check_texts(store: Store) -> Iterator[Result]:
    """Check the explanations of an atlas, if it has any.

    Claims are made again from the evidence, and sentences from the claims that they name. What a
    model wrote in other words is no such sentence: it is marked as rephrased, and passed over.
    Explanations by an earlier state of the atlas are passed over too; they have no page.

    Parameters
    ----------
    store : Store
        The atlas.

    Yields
    ------
    Result
        Of the one check that there is.
    """
    if not store.home and evidence.folders(store.root):
        wrong = [*_problems(store)]
        yield result("sentences of explanations follow from their numbers", wrong)


def prover(store: Store) -> Callable[[Evidence, Path], None]:
    """Return what raises where an explanation, read from its folder, does not follow.

    Parameters
    ----------
    store : Store
        The atlas that the explanations speak of.
    """
    known = _Known(joined(store))

    def prove(found: Evidence, folder: Path) -> None:
        if wrong := _astray(known, found, folder) or _unproved(found, folder):
            raise UserError(
                f"{folder.parent}: {folder.name}: {plain(wrong)}: explain the picture again, or "
                "delete it (`atlas verify` lists all such, `atlas build` explains the recipe's "
                "again)"
            )

    return prove


@dataclass(frozen=True)
class _Known:
    """What an atlas has that its explanations speak of, read when the first is looked at."""

    store: Store

    @cached_property
    def channels(self) -> set[tuple[str, int]]:
        """Layers, or sets of factors, with the numbers of their channels."""
        table = self.store.table("channels").select(["layer", "channel"]).to_pydict()
        return set(zip(table["layer"], table["channel"], strict=True))

    @cached_property
    def digests(self) -> dict[str, str]:
        """Which factors it has, by the name of their set."""
        return bases.digests(self.store)

    @cached_property
    def classes(self) -> dict[int, str]:
        """Names of the classes."""
        table = self.store.table("classes", ["label", "name"]).to_pydict()
        return dict(zip(table["label"], table["name"], strict=True))

    @cached_property
    def pictures(self) -> pa.Table:
        """Keys of the stored pictures, and what each is taken for."""
        return self.store.table("images", ["key", "predicted"])


def _problems(store: Store) -> Iterator[str]:
    atlas, prove = store.manifest()["id"], prover(store)
    for folder in evidence.folders(store.root):
        try:
            found = evidence.read(folder)
            if found.atlas == atlas:
                prove(found, folder)
        except UserError as error:
            yield str(error)


def _astray(known: _Known, found: Evidence, folder: Path) -> str | None:
    """Return what of the atlas the evidence speaks of that is not there."""
    if found.id != folder.name:
        return f"{evidence.FILE} is of {found.id[:40]!r}"
    if strange := [one for one in found.addresses if one not in known.channels]:
        return f"there is no {strange[0][0][:40]}:{strange[0][1]}"
    if others := found.of_others(known.digests):
        return f"it does not say that it is by the factors {others[:40]} that the atlas has now"
    for label, name in found.classes:
        if known.classes.get(label, name) != name:
            return f"class {label} is not {name[:40]!r}"
    other = found.counterfactual
    if other and other.source:
        image, key = other.source.image, other.source.key
        row = known.pictures.slice(image, 1).to_pylist() if image < len(known.pictures) else []
        if row != [{"key": key, "predicted": other.label}]:
            return f"picture {image} of the atlas is not {key[:40]!r}, taken for {other.label}"
    return None


def _unproved(found: Evidence, folder: Path) -> str | None:
    """Return what the files say that the evidence does not."""
    written = narrative.whole(folder)
    made = claims(found)
    if _plain(made) != _plain(stored_claims.read(folder)):
        return f"{stored_claims.FILE} is not what {evidence.FILE} says"
    if _plain(written.table) != _plain(table.rows(found)):
        return f"the table of {narrative.FILE} is not what {evidence.FILE} says"
    for one in written.narratives:
        if wrong := _unsaid({claim.id: claim for claim in made}, one):
            return f"{narrative.FILE}: {wrong}"
    return None


def _unsaid(made: dict[str, Claim], text: Narrative) -> str | None:
    """Return a sentence that is not what its claims say, or a claim that is missing."""
    said: set[str] = set()
    for one in text.sentences:
        group = tuple(made[id_] for id_ in one.claims if id_ in made)
        if len(group) != len(one.claims) or not all(text.audience in c.wordings for c in group):
            return f"{one.text[:60]!r} makes a claim that there is not"
        if not group or not joins(group, text.audience):
            return f"{one.text[:60]!r} makes no claim, or claims of several kinds"
        if not one.rephrased and sentence(group, text.audience, {}) != one:
            return f"{one.text[:60]!r} is not what its claims say"
        said.update(one.claims)
    own = [claim for claim in made.values() if text.audience in claim.wordings]
    missing = [one.id for one in obligatory(own, text.audience) if one.id not in said]
    return f"{missing[0]} is not said" if missing else None


def _plain(found: Sequence[Claim | Row]) -> str:
    return evidence.dumps([asdict(one) for one in found])
