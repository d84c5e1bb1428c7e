"""Which channels a search may find."""

from dataclasses import dataclass

from atlas.contents import Channel, Contents
from atlas.errors import UserError


@dataclass(frozen=True)
class Choice:
    """Conditions on channels; all that are given must hold."""

    layer: str | None = None
    """Name of the layer."""
    label: str | None = None
    """Name or number of a class that must be among the channel's top classes."""
    min_score: float | None = None
    """Least detection score of the name (`score_detection`, an AUPRC, 0 to 1)."""

    def check(self, contents: Contents) -> "Choice":
        """Return the choice with the class by its name, after a look whether it can be met.

        Raises
        ------
        UserError
            The atlas has no such layer or class, or no scores yet.
        """
        if self.layer is not None and self.layer not in contents.layers:
            raise UserError(
                f"no layer {self.layer!r} in {contents.id}: it has {', '.join(contents.layers)}"
            )
        if self.min_score is not None and "score_detection" not in contents.channels.column_names:
            raise UserError(
                f"{contents.store.root} has no scores of names yet: run `atlas score` first, or "
                "leave the least score out"
            )
        label = None if self.label is None else class_name(contents, self.label)
        return Choice(self.layer, label, self.min_score)

    def __call__(self, channel: Channel) -> bool:
        """Say whether a channel meets the conditions."""
        score = channel.scores.get("score_detection")
        return (
            (self.layer is None or channel.layer == self.layer)
            and (self.label is None or self.label in (name for name, _ in channel.top_classes))
            and (self.min_score is None or (score is not None and score >= self.min_score))
        )


def class_name(contents: Contents, asked: str) -> str:
    """Return the name of the class that `asked` names or numbers.

    Raises
    ------
    UserError
        There is none; the message has the three nearest.
    """
    names = contents.class_names
    if asked in names:
        return asked
    if asked.isdecimal() and int(asked) < len(names):
        return names[int(asked)]
    folded = [name for name in names if name.casefold() == asked.casefold()]
    if folded:
        return folded[0]
    from rapidfuzz import process  # noqa: PLC0415 (only mistakes need it)

    near = ", ".join(repr(match) for match, _, _ in process.extract(asked, names, limit=3))
    raise UserError(f"no class {asked!r} in {contents.id}: the nearest are {near}")
