"""What the weights say that channels are made of, kept with the channels of a finished atlas."""

import math
from typing import Any

import numpy as np

from atlas.factors.layers import ceiling
from atlas.pipeline.inputs import Inputs
from atlas.store import Store, byweights
from atlas.weights.connections import incoming
from atlas.weights.strengths import Strengths, mean_peak

WEIGHING = 2
"""Raised when strengths are found in another way, so that those of older atlases are found anew."""


def weigh(store: Store, inputs: Inputs) -> dict[str, Any]:
    """Find the strongest inputs and outputs of every channel; return what the manifest says of it.

    Parameters
    ----------
    store : Store
        An atlas whose channels are measured.
    inputs : Inputs
        What it was measured by.
    """
    table = store.table("channels", ["layer", "channel", "images", "act_edges", "act_counts"])
    values = table.to_pydict()
    addresses = zip(values["layer"], values["channel"], strict=True)
    rows = {address: row for row, address in enumerate(addresses)}
    ends = {name: ceiling(inputs.plan, name) or math.inf for name in inputs.layers}
    histograms = zip(values["act_edges"], values["act_counts"], values["images"], strict=True)
    peaks = np.array([
        mean_peak(*one, ends[layer])
        for one, layer in zip(histograms, values["layer"], strict=True)
    ])  # fmt: skip
    strengths = Strengths(rows, peaks)
    strengths.add(incoming(inputs.network.trace, inputs.layers))
    store.extend_table("channels", strengths.columns())
    byweights.write_columns(store)
    return {"weights": strengths.facts}
