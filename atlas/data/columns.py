"""Which columns of a `datasets` table are the picture and the label.

They are found by the types that the data set declares. A recipe that names a column
(`data.image_column`, `data.label_column`) is always right.
"""

from collections.abc import Mapping
from typing import Any, Literal

from datasets import ClassLabel, Image, Value

from atlas.errors import UserError

Features = Mapping[str, Any]
LabelKind = Literal["classes", "numbers", "texts"]

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
        What the recipe says; empty to find it. Columns of type ClassLabel come before
        integers and these before texts; of several of one type the one with a
        usual name is taken (label, labels, cls, class, target). A single integer column is
        taken whatever its name, unless it tells a size or a number of the row; a text
        column only if it has a usual name.

    Returns
    -------
    (str, {"classes", "numbers", "texts"}) or None
        "classes" have names of their own, "numbers" have none, "texts" are names.

    Raises
    ------
    UserError
        There is no such column, it is no label, or several could be.
    """
    if wanted:
        kind = _label_kind(features[_existing(features, wanted, "label_column")])
        if kind is None:
            raise UserError(
                f"data.label_column = {wanted!r}: it holds {features[wanted]}, "
                "and not classes, integers or texts"
            )
        return wanted, kind
    kinds = {name: _label_kind(kind) for name, kind in features.items()}
    classes = [name for name, kind in kinds.items() if kind == "classes"]
    numbers = [name for name, kind in kinds.items() if kind == "numbers" and _may_label(name)]
    for found, kind in ((classes, "classes"), (numbers, "numbers")):
        usual = [name for name in _LABEL_NAMES if name in found]
        if usual or len(found) == 1:
            return (usual or found)[0], kind  # type: ignore[return-value]
        if found and kind == "classes":
            raise UserError(
                f"several columns hold classes ({', '.join(found)}): "
                "choose one with --set data.label_column=NAME"
            )
    texts = [name for name in _LABEL_NAMES if kinds.get(name) == "texts"]
    return (texts[0], "texts") if texts else None


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
    return "texts" if isinstance(kind, Value) and "string" in kind.dtype else None


def _may_label(name: str) -> bool:
    return name.lower() not in _NO_LABELS and not name.lower().endswith(("_id", "_idx", "_index"))
