"""Write every page of an atlas: what each shows, and which channels it speaks of."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from tqdm import tqdm

from atlas.resources import shipped
from atlas.site import (
    audit_page,
    channel_map,
    charts,
    class_pages,
    concept_pages,
    explanations,
    factor_graph,
    featured,
    made_pictures,
    picture_data,
    reasons,
    search,
    trust,
    workers,
)
from atlas.site.api_files import ApiFiles
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing, heading
from atlas.site.entries import ChannelEntry, ClassEntry, LayerEntry, by_relevance
from atlas.site.explanations import Explanation, Prove
from atlas.site.output import BuildCache, Tree
from atlas.site.ranges import Ranges
from atlas.site.reference_images import ReferenceImages
from atlas.site.terminology import MEANINGS, Terminology
from atlas.site.workers import WrittenPage
from atlas.site.writer import PageWriter
from atlas.store import DOUBTFUL, MODES

NEIGHBOURS = 6
"""Similar channels on a channel's page, and as many that are active together with it."""

ADJACENT_LAYER_CHANNELS = 4
"""Channels of the layer before, and of the layer after, on a channel's page."""

LEAST_CORRELATION = 0.1
"""Correlation from which on a channel's page shows another channel as correlated."""

LAYER_CHANNELS = 4
"""Channels of each layer on the page of all layers."""

CONCEPTS = 6
"""Concepts of its names on a channel's page: whole names first, then words."""

NAVIGATION_LAYERS = 33
"""Layers in the layer navigation of a channel's page; those nearest to it in a deeper network."""

SMALL_LAYER = 96
"""Up to this many channels the thumbnail strips on a layer's page are large."""

STYLES = (
    "base", "grids", "facts", "search", "home", "channel", "range", "references", "class",
    "trust", "concepts", "compare", "picture", "map", "print",
)  # fmt: skip
"""Parts of the one style sheet, in this order: a page should need few files."""

ASSETS = (
    "atlas.js",
    "find.js",
    "search.js",
    "grids.js",
    "channels.js",
    "compare.js",
    "picture.js",
    "map.js",
    "figure.js",
    "logo.svg",
)


class Pages:
    """Writes the pages of one atlas into a tree."""

    def __init__(
        self,
        catalogue: Catalogue,
        tree: Tree,
        cache: BuildCache,
        reference_images: ReferenceImages,
        citing: Citing,
        title: str,
        description: str,
    ) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._cache = cache
        self._reference_images = reference_images
        self._title = title
        self._description = description
        self._citing = citing
        self._audit = audit_page.found(catalogue)
        self._api = ApiFiles(catalogue, tree, self._citing)
        self._writer = PageWriter(
            tree,
            {
                "manifest": catalogue.manifest,
                "fields": catalogue.manifest.get("receptive_fields", {}),
                "conservation": catalogue.manifest.get("conservation", {}),
                "site_title": title,
                "site_description": description,
                "layers": catalogue.layers,
                "last_layer": [layer for layer in catalogue.layers if not layer.basis][-1],
                "reference_images": reference_images,
                "terms": Terminology(catalogue),
                "meanings": MEANINGS,
                "doubtful": DOUBTFUL,
                "citing": self._citing,
                "named": any(channel.name for channel in catalogue.channels),
                "modes": MODES[::-1],
                "has_graph": factor_graph.there(catalogue),
                "audited": self._audit is not None,
            },
        )

    @cached_property
    def _ranges(self) -> Ranges:
        """Read by those that write pages of channels alone."""
        return Ranges(self._catalogue.store)

    def write(self, prove: Prove | None = None) -> None:
        """Write every page and every file of the JSON API; see `atlas.site.render`."""
        templates = shipped("site_templates")
        # GitHub Pages leaves out what begins with "_", as layers may, unless this file says no.
        self._tree.write(".nojekyll", "")
        self._writer.file("404.html", "404.html")
        for name in ASSETS:
            self._tree.write(f"assets/{name}", (templates / name).read_bytes())
        styles = [(templates / "css" / f"{name}.css").read_text("utf-8") for name in STYLES]
        self._tree.write("assets/atlas.css", "\n".join(styles))
        for name, content in self._citing.deposits(self._description).items():
            self._tree.write(name, content)
        catalogue = self._catalogue
        self._channels()
        for layer in catalogue.layers:
            if not self._unchanged(layer.link):
                self._layer(layer)
        explained = explanations.read(catalogue)
        class_pages.write(
            catalogue,
            self._tree,
            self._cache,
            self._writer,
            self._citing,
            self._api,
            explained,
            self._title,
        )
        self._overviews(explained)
        explanations.write(
            explained,
            catalogue,
            self._tree,
            self._cache,
            self._writer,
            self._reference_images,
            self._citing,
            prove,
        )
        self._api.write_index(self._title, self._description)

    def _unchanged(self, link: str) -> bool:
        """Keep the files of a page if all that they show is as it was."""
        known = self._cache.files(link)
        return known is not None and self._tree.keep(known)

    def _channels(self) -> None:
        """Write the pages of channels that are not as they were, in several processes if many."""
        channels = self._catalogue.channels
        rows = [channel.row for channel in channels if not self._unchanged(channel.link)]
        processes = workers.count(len(rows))
        pages: Iterator[WrittenPage] = map(self.channel, rows)
        if processes > 1:
            pages = workers.written(processes, self._task(), rows)
        for page in tqdm(pages, "pages", len(rows), unit=" channels", disable=not rows):
            self._tree.add(page.sizes)
            self._cache.add(page.link, page.rows, page.sizes)

    def _task(self) -> dict[str, Any]:
        """Return what another process needs to write the pages of channels."""
        return {
            "root": str(self._catalogue.store.root),
            "title": self._title,
            "description": self._description,
            "images": self._reference_images.published,
            "pictures": [*self._reference_images.made.items()],
        }

    def channel(self, row: int) -> WrittenPage:
        """Write the page and the JSON of the channel of a row."""
        catalogue = self._catalogue
        channels = catalogue.channels
        channel = channels[row]
        near = self._with_references(channel, channel.neighbours)[:NEIGHBOURS]
        together = self._correlated(channel, channel.together)[:NEIGHBOURS]
        lower = self._correlated(channel, channel.lower)[:ADJACENT_LAYER_CHANNELS]
        upper = self._correlated(channel, channel.upper)[:ADJACENT_LAYER_CHANNELS]
        made_of = self._with_rows(catalogue.channels_of.get(channel.row, []))
        part_of = self._with_rows(catalogue.factors_of.get(channel.row, [])[:NEIGHBOURS])
        weights = reasons.by_weights(catalogue, channel)
        pictures_made = made_pictures.put(catalogue, channel, self._tree)
        before, after = channel.row - 1, channel.row + 1
        json = self._api.write_channel(channel)
        record = catalogue.record(channel)
        page = self._writer.page(
            channel.link,
            "channel.html",
            f"{channel.called} ({channel.address})" if channel.name else channel.address,
            channel.description
            or f"What {channel.address} responds to: reference patches, classes, nearest "
            f"{channel.layer.unit}s.",
            meta=self._citing.meta(heading(channel), channel.link, record),
            json=json,
            channel=channel,
            layer=channel.layer,
            navigation=self._navigation(channel.layer),
            place=channel.layer.rows.index(channel.row) + 1,
            sets=self._reference_images.sets(channel),
            classes=self._classes(channel),
            neighbours=near,
            together=together,
            made_of=made_of,
            part_of=part_of,
            weights=weights,
            influences=reasons.influences(channel),
            made=pictures_made,
            lower=lower,
            upper=upper,
            concepts=[
                (concept.shown, concept_pages.link(concept))
                for concept in map(
                    catalogue.concepts.__getitem__, catalogue.concepts_of[channel.row][:CONCEPTS]
                )
            ],
            trial=catalogue.tests.trial(channel),
            histogram=self._histogram(channel),
            bands=self._ranges.of(channel),
            least_correlation=LEAST_CORRELATION,
            record=record,
            bibtex=self._citing.bibtex(heading(channel), channel.link, record),
            previous=channels[before] if before >= 0 else None,
            next=channels[after] if after < len(channels) else None,
        )
        others = (other.row for other, _ in (*near, *together, *made_of, *part_of, *lower, *upper))
        shown = [row, *others, *weights.rows()]
        written = [page, json, *(one.asset for one in pictures_made)]
        return WrittenPage(channel.link, shown, self._tree.sizes(written))

    def _with_rows(self, pairs: Iterable[tuple[int, float]]) -> list[tuple[ChannelEntry, float]]:
        """Return the channels or factors of some rows."""
        return [(self._catalogue.channels[row], value) for row, value in pairs]

    def _classes(self, channel: ChannelEntry) -> list[tuple[ClassEntry, float]]:
        """Return a channel's classes; none where each has one picture, which is a reference."""
        classes = [(self._catalogue.labels[label], share) for label, share in channel.classes]
        return classes if any(label.count > 1 for label, _ in classes) else []

    def _with_references(
        self, channel: ChannelEntry, pairs: Iterable[tuple[int, float]]
    ) -> list[tuple[ChannelEntry, float]]:
        """Return the channels of some rows that have references; nothing if `channel` has none."""
        channels = self._catalogue.channels
        if not self._reference_images.thumbnail_strip(channel):
            return []
        found = ((channels[row], value) for row, value in pairs)
        return [
            (other, value)
            for other, value in found
            if self._reference_images.thumbnail_strip(other)
        ]

    def _correlated(
        self, channel: ChannelEntry, pairs: Iterable[tuple[int, float]]
    ) -> list[tuple[ChannelEntry, float]]:
        """Return the channels that have references and a correlation that is high enough."""
        return self._with_references(
            channel, (pair for pair in pairs if pair[1] >= LEAST_CORRELATION)
        )

    def _histogram(self, channel: ChannelEntry) -> charts.Histogram | None:
        """Return the drawing of a channel's activation, with its last reference if that fits."""
        rule = self._catalogue.manifest["activation"]
        plain = rule["aggregate"] == "max" and not rule["normalize"]
        found = self._catalogue.references(channel, "activation") if plain else []
        return charts.histogram(
            channel.values.get("act_edges") or (),
            channel.values.get("act_counts") or (),
            channel.values["images"],
            found[-1].score if found else None,
        )

    def _layer(self, layer: LayerEntry) -> None:
        layers = self._catalogue.layers
        channels = [self._catalogue.channels[row] for row in layer.rows]
        page = self._writer.page(
            layer.link,
            "layer.html",
            layer.shown,
            f"The {len(channels)} {layer.unit}s of layer {layer.of} with their best patches.",
            meta=self._citing.meta(f"Layer {layer.shown}", layer.link),
            layer=layer,
            navigation=layers,
            channels=channels,
            factors=[one for one in layers if one.basis and one.basis.layer == layer.name],
            small=len(channels) <= SMALL_LAYER,
            likeness=channel_map.place_of_first(self._catalogue, layer),
            never_active=sum(1 for c in channels if c.number("act_density") == 0),
            previous=layers[layer.position - 1] if layer.position else None,
            next=layers[layer.position + 1] if layer.position + 1 < len(layers) else None,
        )
        self._cache.add(layer.link, layer.rows, self._tree.sizes([page]))

    def _overviews(self, explained: Sequence[Explanation]) -> None:
        catalogue, title = self._catalogue, self._title
        columns = [
            (layer, self._reference_images.layer_column(layer)) for layer in catalogue.layers
        ]
        by_layer = [
            (layer, by_relevance([catalogue.channels[row] for row in layer.rows])[:LAYER_CHANNELS])
            for layer in catalogue.layers
        ]
        data = search.script(catalogue, self._reference_images.thumbnail_strip, explained)
        self._tree.write("assets/search-data.js", data)
        self._tree.write("assets/search-rules.js", search.rules())
        write = self._writer.page
        write(
            "index.html",
            "home.html",
            "Home",
            self._description,
            meta=self._citing.meta("Home", "index.html"),
            columns=columns,
            featured=featured.choose(catalogue),
            whole=trust.tally(catalogue.channels),
            concepts=len(catalogue.concepts),
            seen=catalogue.seen,
        )
        write(
            "layers/index.html",
            "layers.html",
            "Layers",
            f"The {len(columns)} layers of {title} in the order of the forward pass.",
            rows=by_layer,
        )
        factor_graph.write(catalogue, self._tree, self._writer, self._citing)
        audit_page.write(self._audit, self._tree, self._writer, self._citing)
        write(
            "compare.html",
            "compare.html",
            "Compare",
            f"Two channels of {title} side by side.",
        )
        picture_data.write(
            catalogue, self._tree, self._cache, self._writer, self._reference_images, title
        )
        trust.write(catalogue, self._writer, self._citing, title)
        channel_map.write(
            catalogue,
            self._tree,
            self._cache,
            self._writer,
            self._citing,
            self._reference_images,
            title,
        )
        concept_pages.write(catalogue, self._tree, self._cache, self._writer, self._citing, title)
        write(
            "search.html",
            "search.html",
            "Search",
            f"Find channels, layers, classes and explanations of {title}.",
            scored=any(channel.score is not None for channel in catalogue.channels),
            several=any(channel.senses for channel in catalogue.channels),
        )
        example = catalogue.channels[0] if catalogue.channels else None
        for name, heading_, about in (
            ("guide", "How to read it", "What the pages show and how far it can be trusted."),
            ("data", "Data", "Tables and JSON of this atlas, and how they are arranged."),
            ("cite", "How to cite", "How to cite this atlas, a channel or a class."),
            ("about", "About", "How it was made: model, data, preprocessing, rules and checks."),
        ):
            write(
                f"{name}.html",
                f"{name}.html",
                heading_,
                f"{title}: {about}",
                example=example,
                bibtex=self._citing.whole(),
                seen=catalogue.seen,
                explained=explained,
            )

    def _navigation(self, layer: LayerEntry) -> list[LayerEntry]:
        """Return the layers around `layer` for the layer navigation of a channel's page."""
        layers = self._catalogue.layers
        first = max(
            0, min(layer.position - NAVIGATION_LAYERS // 2, len(layers) - NAVIGATION_LAYERS)
        )
        return layers[first : first + NAVIGATION_LAYERS]
