"""Names from labels, without any model: the combination that a channel distinguishes best."""

import hashlib

from tqdm import tqdm

from atlas.probe import formulas
from atlas.probe.probe import Responses
from atlas.store import Store, names
from atlas.store.names import NameRecord

SURE = 0.85
"""Below this AUC, or where chance could give it, a channel has no clear concept."""

LEVEL = 0.01
"""Largest corrected p value of a name."""


def run(store: Store, responses: Responses, source: str) -> int:
    """Name every channel by labels; return how many were not named from the same data before.

    Parameters
    ----------
    store : Store
        With pictures and classes.
    responses : Responses
        Responses of every channel to labelled pictures.
    source : str
        What the data are called in the records.
    """
    table = store.table("channels").select(["layer", "channel"]).to_pydict()
    known = formulas.picture_labels(store, responses.images)
    digest = hashlib.sha256(responses.images.tobytes() + responses.values.tobytes()).hexdigest()
    ranked = formulas.ranks(responses.values)
    single = formulas.aucs(ranked, known.shown)
    records = []
    addresses = list(zip(table["layer"], table["channel"], strict=True))
    for column, (layer, channel) in enumerate(tqdm(addresses, desc="labels", unit=" channels")):
        formula = formulas.best_formula(known, ranked[:, column], single[:, column])
        records.append(_record(layer, channel, source, digest, formula))
    return names.append_new(store, records)


def _record(
    layer: str, channel: int, source: str, digest: str, formula: formulas.Formula | None
) -> NameRecord:
    if formula is None:
        return NameRecord(layer, channel, "labels", source, "no clear concept", references=digest)
    clear = formula.auc >= SURE and formula.p <= LEVEL
    return NameRecord(
        layer=layer,
        channel=channel,
        method="labels",
        by=source,
        status="named" if clear else "no clear concept",
        name=formula.name if clear else None,
        references=digest,
        raw=formula.text,
        details={
            "formula": formula.text,
            "auc": round(formula.auc, 4),
            "p": formula.p,
            "tried": formula.tried,
            "pictures": formula.pictures,
        },
    )
