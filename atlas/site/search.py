"""The data of the search: everything that can be found, in one plain script.

A `<script>` is the one way to load data that also works from the file system. Channels stand in
columns, in the order of the layers, so that addresses need not be said and columns compress well.
What is searched, and the rules, are those of `atlas lookup`.
"""

import json
import posixpath
from collections.abc import Callable, Mapping, Sequence

from atlas.searching import entries
from atlas.searching.analyser import RULES
from atlas.site.catalogue import Catalogue
from atlas.site.entries import ChannelEntry
from atlas.site.explanations import Explanation
from atlas.store import STATES


def script(
    catalogue: Catalogue,
    thumbnail_strip: Callable[[ChannelEntry], str | None],
    explanations: Sequence[Explanation],
) -> str:
    """Return the script that gives the search its data."""
    channels = [catalogue.channels[row] for layer in catalogue.layers for row in layer.rows]
    places = {channel.row: place for place, channel in enumerate(channels)}
    texts = [catalogue.texts[channel.row] for channel in channels]
    labels = {label.label: label.name for label in catalogue.labels.values()}
    data = {
        "layers": [
            [entries.layer(layer.name), layer.slug, round(layer.depth, 2), len(layer.rows)]
            for layer in catalogue.layers
        ],
        "numbers": [one.number for one in texts],
        "names": [one.name for one in texts],
        "senses": {place: one.senses for place, one in enumerate(texts) if one.senses},
        "descriptions": [one.description for one in texts],
        "states": [entries.NOT_ASKED, *STATES],
        "state": [_state(channel) for channel in channels],
        "scores": [one.score for one in texts],
        "shares": [one.share for one in texts],
        "thumbnails": [
            posixpath.basename(thumbnail_strip(channel) or "")[-13:-5] for channel in channels
        ],
        "classes": [one.labels for one in texts],
        "labels": entries.labels(labels),
        "seen": [label.label for label in catalogue.seen],
        "explanations": [_explanation(one, places) for one in explanations],
    }
    return _script("conceptAtlas", data)


def rules() -> str:
    """Return the script that gives searches and filters the tables for words."""
    return _script("conceptRules", {name: r for name, r in RULES.items() if name != "about"})


def _script(name: str, data: object) -> str:
    said = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"window.{name}={safe(said)};\n"


def safe(json_: str) -> str:
    """Return JSON as a script may contain it, inside a page or in a file."""
    return (
        json_.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _explanation(one: Explanation, places: Mapping[int, int]) -> list[object]:
    """Return the id, what the network says, the picture, and the channels that it speaks of."""
    concepts = {(concept.layer, concept.channel) for concept in one.found.concepts}
    spoken_of = sorted(places[one.channels[address].row] for address in concepts)
    return [one.found.id, entries.text(one.found.target.name), one.name, spoken_of]


def _state(channel: ChannelEntry) -> int:
    """Return the place of the state of a channel's name among those that the search offers."""
    return 0 if channel.state is None else 1 + STATES.index(channel.state)
