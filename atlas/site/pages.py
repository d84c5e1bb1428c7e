"""Write every page of an atlas: contexts from the catalogue, through templates, to Markdown."""

import posixpath
from collections.abc import Sequence

import jinja2
from tqdm import tqdm

from atlas.resources import shipped
from atlas.site import striking, text
from atlas.site.catalogue import Catalogue, Channel, Label, Layer
from atlas.site.output import Tree
from atlas.site.plates import Plates, Words
from atlas.store import MODES

NEIGHBOURS = 8
"""Similar channels on a channel's page."""

CLASS_CHANNELS = 6
"""Channels of each layer on a class's page."""

LAYER_FACES = 4
"""Channels of each layer on the page of all layers."""

CLASS_PICTURES = 48
"""Pictures on a class's page."""

SPINE = 33
"""Layers in the picture of the network on pages of channels; of deeper networks a part."""

ASSETS = ("atlas.css", "atlas.js", "logo.svg")


class Pages:
    """Writes the pages of one atlas into a tree."""

    def __init__(self, catalogue: Catalogue, tree: Tree, title: str, description: str) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._words = Words(catalogue)
        self._plates = Plates(catalogue, tree, self._words)
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(shipped("site_templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "percent": text.percent,
            "number": text.number,
            "plain": text.plain,
            "clip": text.clip,
        }
        environment.globals |= {
            "manifest": catalogue.manifest,
            "fields": catalogue.manifest.get("receptive_fields", {}),
            "conservation": catalogue.manifest.get("conservation", {}),
            "site_title": title,
            "site_description": description,
            "layers": catalogue.layers,
            "images": catalogue.images,
            "words": self._words,
            "strip": self._plates.strip,
            "basename": posixpath.basename,
        }
        self._environment = environment

    def write(self) -> None:
        """Write every page and every picture that a page shows."""
        for name in ASSETS:
            self._tree.write(f"assets/{name}", (shipped("site_templates") / name).read_bytes())
        self._plates.make()
        for channel in tqdm(self._catalogue.channels, desc="pages", unit=" channels"):
            self._channel(channel)
        for layer in self._catalogue.layers:
            self._layer(layer)
        pictures = self._pictures_of_labels()
        for label in self._seen:
            self._label(label, pictures.get(label.label, []))
        self._overviews(pictures)

    @property
    def _seen(self) -> list[Label]:
        """The classes that have pages."""
        return [label for label in self._catalogue.labels.values() if label.count]

    def _channel(self, channel: Channel) -> None:
        catalogue = self._catalogue
        rows = channel.layer.rows
        values = channel.values
        classes = zip(values["top_classes"], values["top_class_shares"], strict=True)
        near = [  # silent channels have no patches to compare
            (catalogue.channels[row], similarity)
            for row, similarity in zip(
                values["neighbours"], values["neighbour_similarities"], strict=True
            )
            if self._plates.strip(channel) and self._plates.strip(catalogue.channels[row])
        ]
        before, after = channel.row - 1, channel.row + 1
        self._page(
            channel.link,
            "channel.html",
            channel.address,
            f"What {channel.address} answers to: reference patches, classes, nearest channels.",
            channel=channel,
            layer=channel.layer,
            spine=self._spine(channel.layer),
            place=rows.index(channel.row) + 1,
            sets=self._plates.sets(channel),
            classes=[(catalogue.labels[label], share) for label, share in classes],
            neighbours=near[:NEIGHBOURS],
            previous=catalogue.channels[before] if before >= 0 else None,
            next=catalogue.channels[after] if after < len(catalogue.channels) else None,
        )

    def _layer(self, layer: Layer) -> None:
        layers = self._catalogue.layers
        channels = [self._catalogue.channels[row] for row in layer.rows]
        self._page(
            layer.link,
            "layer.html",
            layer.shown,
            f"The {len(channels)} channels of layer {layer.shown} with their best patches.",
            layer=layer,
            spine=layers,
            channels=channels,
            silent=sum(1 for c in channels if c.values["act_density"] == 0),
            previous=layers[layer.position - 1] if layer.position else None,
            next=layers[layer.position + 1] if layer.position + 1 < len(layers) else None,
        )

    def _label(self, label: Label, pictures: Sequence[int]) -> None:
        seen = self._seen
        place = seen.index(label)
        shares = self._catalogue.shares[label.label]
        carriers = self._catalogue.by_layer(shares.tolist(), CLASS_CHANNELS)
        self._page(
            f"classes/{label.label}.html",
            "class.html",
            f"{label.shown} (class {label.label})",
            f"The channels that carry class {label.label}, {label.shown}, and its pictures.",
            label=label,
            carriers=carriers[::-1],
            shares=shares,
            pictures=pictures[:CLASS_PICTURES],
            count=len(pictures),
            previous=seen[place - 1] if place else None,
            next=seen[place + 1] if place + 1 < len(seen) else None,
        )

    def _overviews(self, pictures: dict[int, list[int]]) -> None:
        catalogue = self._catalogue
        columns = [(layer, self._plates.column(layer)) for layer in catalogue.layers]
        title = str(self._environment.globals["site_title"])
        self._page(
            "index.html",
            "home.html",
            "Home",
            str(self._environment.globals["site_description"]),
            columns=columns,
            striking=striking.choose(catalogue),
            seen=self._seen,
        )
        self._page(
            "layers/index.html",
            "layers.html",
            "Layers",
            f"The {len(columns)} layers of {title} in the order of the forward pass.",
            rows=catalogue.by_layer(
                [c.values["rel_mean"] for c in catalogue.channels], LAYER_FACES
            ),
        )
        self._page(
            "classes/index.html",
            "classes.html",
            "Classes",
            f"The {len(self._seen)} classes of which {title} has pictures.",
            seen=self._seen,
            faces={label: images[0] for label, images in pictures.items()},
        )
        self._page(
            "about.html",
            "about.html",
            "About",
            f"How {title} was made: model, data, preprocessing, rules and checks.",
        )

    def _pictures_of_labels(self) -> dict[int, list[int]]:
        """Return the stored pictures of each class."""
        found: dict[int, list[int]] = {}
        for image in range(len(self._catalogue.images)):
            found.setdefault(self._catalogue.class_of(image), []).append(image)
        return found

    def _spine(self, layer: Layer) -> list[Layer]:
        """Return the layers around `layer` that a page of a channel shows."""
        layers = self._catalogue.layers
        first = max(0, min(layer.position - SPINE // 2, len(layers) - SPINE))
        return layers[first : first + SPINE]

    def _page(
        self, address: str, template: str, title: str, description: str, **context: object
    ) -> None:
        """Write the Markdown of one page; `address` is where it will be."""
        html = self._environment.get_template(template).render(
            up="../" * address.count("/"), modes=MODES[::-1], **context
        )
        source = address.removesuffix(".html") + ".md"
        head = text.front_matter(title, description)
        self._tree.write(source, f"{head}\n{text.body(html)}")
