"""Looking, before a pass, whether a network and its labels are what they are taken for."""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from atlas.data import Record
from atlas.data.images import BadImage
from atlas.data.shift import shifted
from atlas.errors import UserError, one_line
from atlas.pipeline.inputs import Inputs
from atlas.relevance.answers import Check
from atlas.relevance.checks import check
from atlas.relevance.engine import CPU_BLOCK, ActivationEngine

LOOKED_AT = 4
"""Pictures on which the network is looked at."""

COMPARED = 64
"""Labelled pictures whose labels are compared with what the network predicts, spread over the
data where it can be read at any place."""


def checked(inputs: Inputs) -> list[dict[str, Any]]:
    """Return the checks of a run, for the manifest.

    Raises
    ------
    UserError
        One fails, and the recipe does not say to go on (`relevance.unchecked`).
    """
    network = inputs.network
    first = [view for _, view in itertools.islice(_views(inputs, spread=False), LOOKED_AT)]
    if not first:
        return []  # no picture can be read, which the pass reports
    images = network.preprocessing.tensor(first).to(network.device)
    try:
        size = inputs.recipe.prepass.batch_size if images.device.type != "cpu" else CPU_BLOCK
        found = [*check(inputs.instrumented, images, inputs.fields, size), *_labels(inputs)]
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # what a user's network raises on several pictures, or these
        raise UserError(
            f"{network.name} fails on {len(first)} pictures of the data: "
            f"{type(error).__name__}: {one_line(error)[:200]}"
        ) from error
    found += [Check("layers", True, remark) for remark in inputs.selection.remarks]
    for unknown in (one for one in found if one.passed is None):
        tqdm.write(f"not known: {unknown.says}", sys.stderr)
    for failed in (one for one in found if one.passed is False):
        if not inputs.recipe.relevance.unchecked:
            raise UserError(
                f"{network.name}: {failed.says}; or go on with --set relevance.unchecked=true, "
                "and every page says so"
            )
        tqdm.write(f"unchecked: {failed.says}", sys.stderr)
    return [asdict(one) for one in found]


def _labels(inputs: Inputs) -> Iterator[Check]:
    """Compare labels with what the network predicts."""
    outputs = inputs.labels.outputs
    views, labels = [], []
    for record, view in itertools.islice(_views(inputs, spread=True), COMPARED):
        if record.label is not None and record.label < len(outputs):
            views.append(view)
            labels.append(outputs[record.label])
    if not any(label is not None for label in labels):
        return
    network = inputs.network
    engine = ActivationEngine(inputs.instrumented)
    predicted: list[int] = []
    for start in range(0, len(views), 8):
        images = network.preprocessing.tensor(views[start : start + 8]).to(network.device)
        nothing = torch.zeros(len(images), dtype=torch.int64)
        predicted += engine(images, nothing, lambda *_: None).argmax(dim=1).tolist()
    wrong = shifted(labels, predicted, network.outputs)
    right = sum(a == b for a, b in zip(labels, predicted, strict=True))
    says = f"of {len(labels)} labelled pictures the network recognises {right}"
    yield Check("labels", wrong is None, wrong or says)


def _views(inputs: Inputs, spread: bool) -> Iterator[tuple[Record, Image.Image]]:
    """Yield pictures that can be read, as the network sees them."""
    source, count = inputs.source, inputs.source.count
    if spread and source.random_access and count:
        some = {i * count // COMPARED for i in range(COMPARED)}
        records = source.fetch(some)
    else:
        records = source.records()
    for record in itertools.islice(records, 4 * COMPARED):
        try:
            yield record, inputs.network.preprocessing.view(record.picture())
        except BadImage:
            continue
