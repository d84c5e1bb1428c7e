"""Pages of explanations: what evidence.json, claims.json and narrative.json say, and no more."""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markupsafe import Markup, escape

from atlas.errors import UserError
from atlas.resources import shipped
from atlas.site import graphs, text
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.entries import ChannelEntry
from atlas.site.output import BuildCache, Tree
from atlas.site.reference_images import ReferenceImages
from atlas.site.writer import PageWriter
from atlas.store import Store, claims, evidence, narrative, othermaps, table
from atlas.store.claims import Claim, Slot
from atlas.store.counterfactual import ConceptStep
from atlas.store.evidence import EXPLANATIONS, Concept, Evidence
from atlas.store.narrative import Narrative, Sentence
from atlas.store.othermaps import TestedMap

INDEX = f"{EXPLANATIONS}/index.html"

ASSETS = ("explanation.css", "explanation.js")

Prove = Callable[[Evidence, Path], None]
"""Raises UserError for an explanation, read from a folder, that its numbers do not hold."""

_log = logging.getLogger(__name__)

VIEW, HEAT = "picture.webp", "heat.webp"


_BEGINS = {
    **dict.fromkeys(("silent", "carries", "changes", "falls", "rises", "keeps", "spread"), 1),
    **dict.fromkeys(("more", "earlier", "decide", "disagree", "together", "contrast", "whynot"), 2),
    **dict.fromkeys(("leaves", "lasts", "becomes", "misses"), 4),
    **dict.fromkeys(("kept", "failed", "unnamed", "untested", "doubtful"), 3),
}
"""Paragraph that a kind of claims is in, with all that follow until the next of these."""


@dataclass(frozen=True)
class Explanation:
    """One explained picture, with the channels of the atlas that it speaks of."""

    folder: Path
    found: Evidence
    narratives: tuple[Narrative, ...]
    channels: Mapping[tuple[str, int], ChannelEntry]
    others: tuple[TestedMap, ...] = ()
    """Other maps than that of relevance."""

    @property
    def link(self) -> str:
        """The page's address from the site's root."""
        return f"{EXPLANATIONS}/{self.found.id}.html"

    @property
    def files(self) -> str:
        """Where its files are, from the site's root."""
        return f"{EXPLANATIONS}/{self.found.id}"

    @property
    def title(self) -> str:
        """What the network says, what it was asked for instead, and of which picture."""
        return f"{text.clip(text.plain(self.found.target.name))}{self.rather}: {self.name}"

    @property
    def rather(self) -> str:
        """Which class was asked for instead, or how many classes tie; else nothing."""
        other, target = self.found.counterfactual, self.found.target
        if self.found.undecided and target.rank == 1:
            return f", one of {target.tied} that tie"
        return f", not {text.clip(text.plain(other.name))}" if other else ""

    @property
    def name(self) -> str:
        """The name of the picture's file, as a page shows it."""
        return text.clip(text.plain(self.found.picture.name))

    @property
    def rows(self) -> list[int]:
        """The channels that the page speaks of."""
        return [self.channels[address].row for address in self.found.addresses]

    @property
    def texts(self) -> list[str]:
        """Its files that are published as they are."""
        beside = [othermaps.FILE] if self.others else []
        return [evidence.FILE, claims.FILE, narrative.FILE, *beside]

    def source(self, before: "Explanation | None", after: "Explanation | None") -> str:
        """Return a digest of what the page is made from, beside the atlas."""
        digest = hashlib.sha256()
        for file in self.texts:
            digest.update((self.folder / file).read_bytes())
        beside = [one.link + one.title if one else "" for one in (before, after)]
        digest.update("\0".join(beside).encode())
        return f"{self.link} {digest.hexdigest()[:16]}"

    def channel(self, layer: str, channel: int) -> ChannelEntry:
        """Return a channel of the atlas."""
        return self.channels[layer, channel]

    def called(self, one: Concept | ConceptStep) -> str:
        """Return what a concept is called: its name, else its address."""
        return text.plain(one.name) if one.name else one.address

    @cached_property
    def claims(self) -> Mapping[str, Claim]:
        """Its claims by id, read when its page is made.

        Raises
        ------
        UserError
            They cannot be read, or the text makes others.
        """
        known = {claim.id: claim for claim in claims.read(self.folder)}
        said = {id_ for text_ in self.narratives for one in text_.sentences for id_ in one.claims}
        if unknown := said - known.keys():
            raise UserError(
                f"{self.folder / narrative.FILE} makes a claim {min(unknown)[:40]!r} that is not "
                f"in {claims.FILE}: explain the picture again"
            )
        return known

    @cached_property
    def by_layer(self) -> list[tuple[evidence.LayerEvidence, ChannelEntry, list[Concept]]]:
        """The concepts of each layer, the last layer first."""
        groups = []
        for layer in reversed(self.found.layers):
            own = [one for one in self.found.concepts if one.layer == layer.layer]
            if own:
                groups.append((layer, self.channel(own[0].layer, own[0].channel), own))
        return groups

    @cached_property
    def plots(self) -> list[graphs.Plot]:
        """The tests: the one that says most first, channels of the last layer set to zero."""
        depth = {layer.layer: place for place, layer in enumerate(self.found.layers)}
        order = {"zero": 0, "blur": 1, "mean": 2}
        curves = sorted(self.found.curves, key=lambda one: (-depth[one.layer], order[one.kind]))
        return [graphs.plot(curve) for curve in curves]

    def curve(self, heights: Sequence[float]) -> str:
        """Return the probabilities of a test of a map as points of a line."""
        return graphs.points(heights, 0, 1)

    @property
    def means(self) -> bool:
        """Whether channels were set to their means with an effect of its own."""
        return any(curve.kind == "mean" for curve in self.found.curves)

    def state(self, one: Concept) -> str:
        """Return how far a concept's name can be trusted."""
        return table.state(one)

    def effects(self, one: Concept) -> tuple[evidence.Effect, ...]:
        """Return what taking away a concept does."""
        return next(each.effects for each in self.found.effects if each.concept == one.id)

    @cached_property
    def graph(self) -> graphs.Graph | None:
        """The flow of relevance between concepts, as a drawing."""
        return graphs.graph(self.found)

    def node(self, node: graphs.Node) -> ChannelEntry:
        """Return the channel of a node of the graph."""
        layer, _, number = node.address.rpartition(":")
        return self.channel(layer, int(number))

    def overlap(self, one: Concept) -> tuple[Concept, float] | None:
        """Return the concept of the same layer whose heat map overlaps most with that of `one`."""
        best: tuple[Concept, float] | None = None
        for pair in self.found.overlaps:
            if one.id not in (pair.first, pair.second):
                continue
            other = self.found.concept(pair.second if one.id == pair.first else pair.first)
            if other.layer == one.layer and (best is None or pair.overlap > best[1]):
                best = other, pair.overlap
        return best

    def context(self, one: Concept) -> evidence.Context | None:
        """Return what a vision-language model says of a concept."""
        return next((said for said in self.found.context if said.concept == one.id), None)

    def paragraphs(self, narrative_: Narrative) -> list[list[Sentence]]:
        """Return the sentences of a narrative by subject: the answer, its reasons, the tests."""
        groups: list[list[Sentence]] = [[]]
        at = 0
        for sentence in narrative_.sentences:
            kind = sentence.claims[0].partition(":")[0] if sentence.claims else ""
            if (subject := _BEGINS.get(kind, at)) != at and groups[-1]:
                groups.append([])
            at = subject
            groups[-1].append(sentence)
        return groups

    def proofs(self, narrative_: Narrative, sentence: Sentence) -> list[Slot]:
        """Return the names and numbers of a sentence with where they stand in the evidence."""
        wordings = [
            self.claims[id_].wordings.get(narrative_.audience)
            for id_ in sentence.claims
            if id_ in self.claims
        ]
        slots = [slot for wording in wordings if wording for slot in wording.slots]
        return list({(slot.text, slot.source): slot for slot in slots}.values())

    @property
    def caveats(self) -> list[str]:
        """What there is to be careful about."""
        found = [one for one in self.claims.values() if one.caveat and one.kind != "names"]
        wordings = [one.wordings.get("everyone") or one.wordings["expert"] for one in found]
        return [wording.sentence for wording in wordings]

    def marked(self, sentence: Sentence, up: str) -> Markup:
        """Return a sentence as HTML in which concepts are links that show their heat maps."""
        cited = [one for one in self.found.concepts if self._cites(sentence, one)]
        addresses = {one.address: one for one in cited}
        names = {text.plain(one.name).lower(): one for one in reversed(cited) if one.name}
        # Names stand in quotation marks, perhaps with their address behind; a class of the
        # same name is marked as well, which does no harm.
        address = "|".join(re.escape(one) for one in sorted(addresses, key=len, reverse=True))
        pattern = (
            rf"“([^”]*)”(?: \(({address or '(?!)'})\))?|(?<![\w.])({address or '(?!)'})(?![\w:])"
        )
        html, at = Markup(), 0
        for match in re.finditer(pattern, sentence.text):
            name, beside, alone = match.groups()
            one = addresses.get(beside or alone or "") or names.get((name or "").lower())
            said = escape(match[0])
            html += escape(sentence.text[at : match.start()])
            html += said if one is None else self._link(one, said, up)
            at = match.end()
        html += escape(sentence.text[at:])
        return html.replace(" %", "\N{NO-BREAK SPACE}%")  # a line never begins with the sign

    def _cites(self, sentence: Sentence, one: Concept) -> bool:
        own = {one.id, f"effect:{one.id}", f"flow:{one.id}"}
        return bool(own & set(sentence.evidence))

    def _link(self, one: Concept, said: Markup, up: str) -> Markup:
        link = self.channel(one.layer, one.channel).link
        return Markup('<a class="concept" data-map="{}" href="{}">{}</a>').format(
            one.id, up + link, said
        )


def read(catalogue: Catalogue) -> list[Explanation]:
    """Return the explanations of an atlas.

    Raises
    ------
    UserError
        A file of an explanation is missing or damaged.
    """
    channels = {(one.layer.name, one.channel): one for one in catalogue.channels}
    digests = {name: basis.digest for name, basis in catalogue.bases.items()}
    return list(_all(catalogue.store, channels, digests, str(catalogue.manifest["id"])))


def write(
    found: Sequence[Explanation],
    catalogue: Catalogue,
    tree: Tree,
    cache: BuildCache,
    writer: PageWriter,
    reference_images: ReferenceImages,
    citing: Citing,
    prove: Prove | None,
) -> None:
    """Write the pages of all explanations and one that lists them, if there are any.

    Parameters
    ----------
    found : sequence of Explanation
        What `read` returned.
    catalogue, tree, cache, writer, reference_images, citing
        As the other pages have them.
    prove : callable, optional
        Raises UserError for an explanation whose texts do not follow from its numbers.
    """
    if not found:
        return
    for name in ASSETS:
        tree.write(f"assets/{name}", (shipped("site_templates") / name).read_bytes())
    for place, one in enumerate(found):
        drawn = (*(concept.map for concept in one.found.concepts), *(m.file for m in one.others))
        for file in (VIEW, HEAT, *drawn):
            tree.link(f"{one.files}/{file}", one.folder / file)
        for file in one.texts:
            tree.write(f"{one.files}/{file}", (one.folder / file).read_bytes())
        before = found[place - 1] if place else None
        after = found[place + 1] if place + 1 < len(found) else None
        source = one.source(before, after)
        known = cache.files(source)
        if known is not None and tree.keep(known):
            continue
        if prove is not None:
            prove(one.found, one.folder)
        what = f"Explanation of {one.name}"
        page = writer.page(
            one.link,
            "explanation.html",
            one.title,
            f"Which concepts speak for {one.found.target.name} in {one.name}.",
            meta=citing.meta(what, one.link),
            json=f"{one.files}/{evidence.FILE}",
            it=one,
            e=one.found,
            label=catalogue.name(one.found.target.label),
            reference_images=reference_images,
            bibtex=citing.bibtex(what, one.link),
            previous=before,
            next=after,
        )
        cache.add(source, one.rows, tree.sizes([page]))
    writer.page(
        INDEX,
        "explanations.html",
        "Explanations",
        "Single pictures, and the concepts that the network's answers rest on.",
        explanations=found,
    )


def _all(
    store: Store,
    channels: Mapping[tuple[str, int], ChannelEntry],
    digests: Mapping[str, str],
    atlas: str,
) -> Iterator[Explanation]:
    """Yield the explanations by this atlas as it is now."""
    for one in evidence.folders(store.root):
        found = evidence.read(one)
        known = channels.keys() >= {*found.addresses} and not found.of_others(digests)
        if found.atlas == atlas and found.id == one.name and known:
            source = found.counterfactual and found.counterfactual.source
            if source and source.image >= store.rows("images"):
                raise UserError(
                    f"{one / evidence.FILE} copies maps from picture {source.image}, which is not "
                    "in the atlas: explain the picture again"
                )
            others = othermaps.read(one)
            drawn = (*(concept.map for concept in found.concepts), *(m.file for m in others))
            for name in (VIEW, HEAT, claims.FILE, *drawn):
                if not store.inside(f"{EXPLANATIONS}/{one.name}/{name}").is_file():
                    raise UserError(f"{one / name} is missing: explain the picture again")
            yield Explanation(one, found, narrative.read(one), channels, others)
        else:
            _log.warning(
                "%s is of another state of the atlas and gets no page: explain the picture again, "
                "or delete it", one
            )  # fmt: skip
