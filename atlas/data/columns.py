"""Which columns of a `datasets` table are the picture and the label.

They are found by the types that the data set declares. A recipe that names a column
(`data.image_column`, `data.label_column`) is always right.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from datasets import ClassLabel, Image, LargeList, List, Value

from atlas.errors import UserError

Features = Mapping[str, Any]
LabelKind = Literal["classes", "numbers", "reals", "texts"]

_LABEL_NAMES = ("label", "labels", "cls", "class", "target")
_NO_LABELS = frozenset(
    {"id", "idx", "index", "width", "height", "size", "__index_level_0__", "timestamp", "year"}
)


def image_column(features: Features, wanted: str) -> str:
    """Return the name of the column of the pictures.

    Parameters
    ----------
    features : mapping
        Name to type of every column, as `datasets` gives them.
    wanted : str
        What the recipe says; empty to find it: the only column of type Image, or the
        one of several that is called "image". Where none is declared: the only column of
        encoded files, that is of bytes or of {bytes, path}.

    Raises
    ------
    UserError
        There is no such column, it holds no pictures, or several could be meant.
    """
    if wanted:
        kind = features[_existing(features, wanted, "image_column")]
        if not isinstance(kind, Image) and not _holds_files(kind):
            raise UserError(f"data.image_column = {wanted!r}: it holds {kind}, and not pictures")
        return wanted
    found = [name for name, kind in features.items() if isinstance(kind, Image)]
    found = found or [name for name, kind in features.items() if _holds_files(kind)]
    if len(found) == 1 or "image" in found:
        return "image" if "image" in found else found[0]
    what = f"several columns hold pictures ({', '.join(found)})" if found else "no column has them"
    raise UserError(
        f"which column has the pictures? {what}; "
        f"name one of {_names(features)} with --set data.image_column=NAME"
    )


def label_column(features: Features, wanted: str) -> tuple[str, LabelKind] | None:
    """Return name and kind of the column of the labels; None where there is none.

    Parameters
    ----------
    features : mapping
        Name to type of every column, as `datasets` gives them.
    wanted : str
        What the recipe says; empty to find it. Columns of type ClassLabel come first, of
        several the one with a usual name (label, labels, cls, class, target); then integers,
        other numbers and truth values, and texts with a usual name; then a single integer
        column whatever its name, unless it is a size or a number of the row.

    Returns
    -------
    (str, {"classes", "numbers", "reals", "texts"}) or None
        "classes" have names of their own, "numbers" have none, "reals" are numbers if all of
        them are whole (as pandas makes of integers where some are missing) or truth values,
        "texts" are names.

    Raises
    ------
    UserError
        There is no such column, it is no label, or several could be.
    """
    if wanted:
        kind = _label_kind(features[_existing(features, wanted, "label_column")])
        if kind is None and _is_list(features[wanted]):
            raise UserError(
                f"data.label_column = {wanted!r}: it holds several labels for each picture "
                f"({features[wanted]}), and a picture has one here: name no column, and let "
                "relevance start at the predicted class (--set relevance.target=predicted)"
            )
        if kind is None:
            raise UserError(
                f"data.label_column = {wanted!r}: it holds {features[wanted]}, "
                "and not classes, numbers or texts"
            )
        return wanted, kind
    kinds = {name: _label_kind(kind) for name, kind in features.items()}
    classes = [name for name, kind in kinds.items() if kind == "classes"]
    usual: dict[LabelKind | None, str] = {}
    for name in _LABEL_NAMES:
        usual.setdefault(kinds.get(name), name)
    if classes and "classes" not in usual and len(classes) > 1:
        raise UserError(
            f"several columns hold classes ({', '.join(classes)}): "
            "choose one with --set data.label_column=NAME"
        )
    if classes:
        return usual.get("classes", classes[0]), "classes"
    others: tuple[LabelKind, ...] = ("numbers", "reals", "texts")
    for other in others:
        if other in usual:
            return usual[other], other
    numbers = [name for name, kind in kinds.items() if kind == "numbers" and _may_label(name)]
    return (numbers[0], "numbers") if len(numbers) == 1 else None


def several_labels(features: Features) -> Iterator[str]:
    """Yield a line about each column that seems to hold several labels for each picture."""
    for name in _LABEL_NAMES:
        if name in features and _is_list(features[name]):
            yield (
                f"column {name!r} holds several labels for each picture ({features[name]}), which "
                "are not used: a picture has one here"
            )


def _is_list(kind: object) -> bool:
    return isinstance(kind, (list, List, LargeList))


def _existing(features: Features, wanted: str, key: str) -> str:
    if wanted not in features:
        raise UserError(f"data.{key} = {wanted!r}: no such column; the data has {_names(features)}")
    return wanted


def _names(features: Features) -> str:
    return ", ".join(features)


def _holds_files(kind: object) -> bool:
    """Return whether a column of this type can hold encoded files."""
    if isinstance(kind, Mapping):
        return {"bytes", "path"}.issuperset(kind) and "bytes" in kind
    return isinstance(kind, Value) and "binary" in kind.dtype


def _label_kind(kind: object) -> LabelKind | None:
    if isinstance(kind, ClassLabel):
        return "classes"
    if isinstance(kind, Value) and kind.dtype.removeprefix("u").startswith("int"):
        return "numbers"
    if isinstance(kind, Value) and kind.dtype.startswith(("float", "bool")):
        return "reals"
    return "texts" if isinstance(kind, Value) and "string" in kind.dtype else None


def _may_label(name: str) -> bool:
    return name.lower() not in _NO_LABELS and not name.lower().endswith(("_id", "_idx", "_index"))
