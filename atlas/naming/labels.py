"""Names from labels, without any model: the combination that a channel distinguishes best."""

import hashlib
from collections.abc import Mapping

from atlas.probe import formulas
from atlas.probe.probe import Responses
from atlas.store import Store, names
from atlas.store.names import NameRecord

HOW = {
    "search": "half the pictures choose, half test",
    "auc": formulas.SURE,
    "false_discovery_rate": formulas.LEVEL,
    "longest": formulas.LONGEST,
}
"""What decides a name, in the records."""


def run(
    store: Store,
    responses: Responses,
    source: str,
    superclasses: Mapping[str, frozenset[int]] | None = None,
) -> int:
    """Name every channel by labels; return how many were not named from the same data before.

    Parameters
    ----------
    store : Store
        With pictures and classes.
    responses : Responses
        Responses of every channel to labelled pictures.
    source : str
        What the data are called in the records.
    superclasses : mapping, optional
        Name -> numbers of its classes.
    """
    table = store.table("channels").select(["layer", "channel"]).to_pydict()
    known = formulas.picture_labels(store, responses.images, superclasses)
    digest = hashlib.sha256(responses.images.tobytes() + responses.values.tobytes())
    digest.update("\n".join(known.names).encode() + known.shown.tobytes())
    found = formulas.best(known, responses.values)
    records = [
        _record(layer, channel, source, digest.hexdigest(), formula)
        for layer, channel, formula in zip(table["layer"], table["channel"], found, strict=True)
    ]
    return names.append_new(store, records)


def _record(
    layer: str, channel: int, source: str, digest: str, formula: formulas.Formula | None
) -> NameRecord:
    named = formula is not None and formula.passes
    return NameRecord(
        layer=layer,
        channel=channel,
        method="labels",
        by=source,
        status="named" if named else "no clear concept",
        name=formula.name if formula is not None and named else None,
        decoding=HOW,
        references=digest,
        raw=_said(formula),
        details={}
        if formula is None
        else {
            "formula": formula.text,
            "auc": round(formula.auc, 4),
            "chosen_auc": round(formula.chosen_auc, 4),
            "p": formula.p,
            "q": formula.q,
            "tried": formula.tried,
            "pictures": formula.pictures,
            "positive": formula.positive,
            "tested": formula.tested,
        },
    )


def _said(formula: formulas.Formula | None) -> str:
    """Return what was found, or what was tried where nothing was."""
    if formula is None:
        return (
            "no label fits it: the channel is the same everywhere, or no label has at least "
            f"{2 * formulas.FEWEST} pictures"
        )
    found = (
        f"{formula.text}, AUC {formula.auc:.2f}, p = {formula.p:.2g}, false discovery rate "
        f"{formula.q:.2g} ({formula.positive} of {formula.tested} pictures have it; best of "
        f"{formula.tried} combinations on others)"
    )
    return found if formula.passes else f"no label fits it; best: {found}"
