"""What the pages of an atlas call its scores, its namers and the states of its names."""

from atlas.site import text
from atlas.site.catalogue import Catalogue
from atlas.site.entries import ChannelEntry, LayerEntry
from atlas.store import MODES, Mode

METHODS = {
    "vlm": "a vision-language model",
    "labels": "the best combination of labels",
    "clip": "an image-text model",
    "person": "a person",
}

MEANINGS = {
    "tested": "on pictures from the whole range it scores above names that say nothing of the "
    "channel",
    "not told from chance": "on pictures from the whole range it does not score clearly above "
    "names that say nothing of the channel",
    "one-sided": "what the channel is used for and what it fires for have different names",
    "untested": "nobody has tested this name",
    "by a person": "a person gave this name",
}
"""What the states of names mean, for readers of a page."""


class Terminology:
    """The terms that depend on how one atlas was made: its modes, labels and namers."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._shares = {mode: bool(catalogue.manifest[mode]["normalize"]) for mode in MODES}
        self._aggregates = {mode: catalogue.manifest[mode]["aggregate"] for mode in MODES}
        self._fields = catalogue.manifest.get("receptive_fields", {})
        crop = catalogue.manifest["preprocessing"]["crop"]
        self._picture = [crop, crop] if isinstance(crop, int) else list(crop)
        self.label = catalogue.labels.__getitem__
        self.class_pictures = {
            "label": "pictures of",
            "mixed": "pictures of (or, without a label, taken by the network for)",
            "predicted": "pictures that the network takes for",
        }[catalogue.classes_by]

    def score(self, mode: Mode, value: float) -> str:
        """Return a reference's score as it is written."""
        return text.percent(value) if self._shares[mode] else text.number(value)

    def score_meaning(self, mode: Mode, layer: LayerEntry) -> str:
        """Return what a score is, with its denominator."""
        over = {"max": "the maximum", "sum": "the sum"}[self._aggregates[mode]]
        what = {
            "activation": f"{over} of the factor’s coefficient over its map"
            if layer.basis
            else f"{over} of the layer’s raw output over the channel’s map",
            "relevance": f"{over} of the {layer.unit}’s relevance over its map",
        }[mode]
        if not self._shares[mode]:
            return f"{what}."
        return (
            f"{what}, as a share of Σ |{mode}| over the {len(layer.rows)} {layer.unit}s of "
            f"{layer.shown} in that picture."
        )

    def sees(self, layer: LayerEntry) -> str:
        """Return how much of a picture a unit of a layer sees; empty where that is unknown."""
        field = self._fields.get(layer.name)
        if field is None:
            return ""
        seen = [min(one, all_) for one, all_ in zip(field["size"], self._picture, strict=True)]
        if seen == self._picture:
            return "the whole picture"
        return f"{seen[0]} × {seen[1]} of {self._picture[0]} × {self._picture[1]} pixels"

    def side(self, mode: Mode) -> str:
        """Return what the references of a mode show, as the heading of their row."""
        return {"relevance": "What it is used for", "activation": "What sets it off"}[mode]

    def chip(self, channel: ChannelEntry) -> str:
        """Return the state of a channel's name in few words, with its score where that says it."""
        state = channel.state
        if state is None:
            return "no name yet"
        if state == "none found":
            return "no clear concept" if channel.status == "no clear concept" else "no name found"
        if state in ("one-sided", "untested") or channel.score is None or channel.chance is None:
            return state
        return f"{state} {channel.score:.2f}, chance {channel.chance:.2f}"

    def sentence(self, channel: ChannelEntry) -> str:
        """Return what is known of a channel's name as one sentence for newcomers."""
        if channel.state == "one-sided":
            used, fires = (f"“{text.clip(name, 60)}”" if name else "" for _, name in channel.sides)
            return (
                f"The network uses it for {used or 'nothing that could be named'}; what sets it "
                f"off most {f'is {fires}' if fires else 'has nothing in common'}."
            )
        return {
            None: f"This {channel.layer.unit} has no name yet: look at its pictures.",
            "none found": "Its pictures have nothing in common that could be named.",
            "untested": "Whether this name holds on other pictures was not tested.",
            "tested": "On pictures that it was not made from, the name foretells when the "
            f"{channel.layer.unit} responds.",
            "not told from chance": "On pictures that it was not made from, the name foretells "
            "the response no better than other names do.",
            "by a person": "A person gave this name.",
        }[channel.state]

    def named_by(self, channel: ChannelEntry) -> str:
        """Return who gave a channel its name."""
        method = channel.values.get("named_by")
        if method is None:
            return ""
        namer = text.clip(text.plain(channel.values.get("namer") or ""), 80)
        who = METHODS.get(method, text.plain(method))
        return f"{who} ({namer})" if namer else who

    def status(self, channel: ChannelEntry) -> str:
        """Return why a channel has no name, and what was tried."""
        if channel.state != "none found":
            return ""
        tried = text.clip(text.plain(channel.values.get("name_tried") or ""), 300)
        return f"no name found: {tried}" if tried else "no name found"

    def state(self, channel: ChannelEntry) -> str:
        """Return what the state of a channel's name means."""
        meaning = MEANINGS.get(channel.state or "", "")
        shares = [channel.number(f"fits_{mode}") for mode in MODES[::-1]]
        if None in shares:
            return meaning
        relevance, activation = map(text.percent, shares)
        return (
            f"{meaning}; the name fits {relevance} of the references by relevance that the model "
            f"was shown, and {activation} of those by activation"
        )
