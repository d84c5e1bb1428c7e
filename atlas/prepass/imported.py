"""References that zennit-crp has found already, instead of a pass over the data."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from atlas.data import Source
from atlas.errors import UserError
from atlas.formats import crp_folder
from atlas.model.preprocessing import Preprocessor
from atlas.prepass import tally, topk
from atlas.prepass.tally import Seen, Tally
from atlas.prepass.topk import TopK
from atlas.recipe import Activation, Prepass, Relevance
from atlas.relevance.engine import PREDICTED, Engine, measure
from atlas.store import Mode


def run(
    source: Source,
    outputs: Sequence[int | None],
    classes: int,
    engine: Engine,
    preprocessing: Preprocessor,
    activation: Activation,
    relevance: Relevance,
    settings: Prepass,
    device: torch.device,
) -> Tally:
    """Return a tally with references and without anything else, as nothing was measured.

    Only the referenced pictures are read, to know their labels and predicted classes.

    Parameters
    ----------
    source : Source
        The data, in the order in which zennit-crp saw it.
    outputs : sequence of (int or None)
        The network's output for every label of the data.
    classes : int
        Outputs of the network.
    engine : Engine
        The network with the layers in question.
    preprocessing : Preprocessor
        From pictures to the network's input.
    activation, relevance : Activation, Relevance
        How references were scored.
    settings : Prepass
        `settings.results` is the folder.
    device : torch.device
        Where the network is.

    Raises
    ------
    UserError
        The files do not fit the network or the data.
    """
    state = Tally(settings.k, classes, settings.modes)
    root = Path(settings.results).expanduser()

    def visit(_part: slice, layer: str, _mode: Mode, maps: torch.Tensor) -> None:
        state.layers[layer] = found = tally.empty_layer(maps, state)
        positions = maps.shape[2] * maps.shape[3]
        for mode in state.modes:
            rule = activation if mode == "activation" else relevance
            arrays = crp_folder.read(root, layer, mode, rule, positions)
            offered = TopK(*(torch.from_numpy(array.T.copy()) for array in arrays))
            if len(offered.scores) != maps.shape[1]:
                raise UserError(
                    f"{root} has {len(offered.scores)} channels of {layer}, the network has "
                    f"{maps.shape[1]}: it is of another network"
                )
            # zennit-crp leaves the order of equal scores open; ours is total.
            offered = topk.without_zeros(offered)
            found.top[mode] = topk.merge(topk.empty(maps.shape[1], settings.k), offered)

    blank = torch.zeros(1, *preprocessing.shape, device=device)
    measure(engine, blank, torch.tensor([PREDICTED]), visit)
    wanted = sorted(tally.references(state))
    if wanted and source.count is not None and not 0 <= wanted[0] <= wanted[-1] < source.count:
        raise UserError(
            f"{root} refers to sample {wanted[-1]}, but the data has {source.count}: give the data "
            "that zennit-crp saw, in the same order"
        )
    records = source.fetch(wanted)
    for record in tqdm(records, total=len(wanted), desc="predictions", unit=" images"):
        batch = preprocessing.tensor([preprocessing.view(record.picture())]).to(device)
        logits = measure(engine, batch, torch.tensor([PREDICTED]), lambda *_: None)
        label = record.label
        known = None if label is None or label >= len(outputs) else outputs[label]
        state.seen[record.index] = Seen(record.key, known, int(logits.argmax()))
    return state
