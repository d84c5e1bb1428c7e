"""One batch on its way into the running results of the pre-pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from atlas.errors import UserError
from atlas.prepass import bands, classpictures, exactsum, products, topk
from atlas.prepass.classpictures import ClassPicture
from atlas.prepass.reductions import Reduce, bins, reduce
from atlas.prepass.tally import Seen, Tally, empty_layer, in_range, kept
from atlas.recipe import Activation, Relevance
from atlas.store import Mode

STABILISER = 1e-10
"""Added to the denominator of shares, as zennit-crp does."""

SLACK = 1.25
"""Pictures of classes are sorted, and those dropped that are too many, when there are so many times
as many as are wanted."""

REMEMBERED = 10_000
"""Pictures that are remembered whether they are kept by a channel or not."""


@dataclass
class BatchTally:
    """One batch on its way into a tally.

    `visit` takes the maps of a layer as they arise and keeps nothing as large as they are;
    `finish` adds what is known only when all maps were seen.
    """

    tally: Tally
    """To which the batch is added."""
    activation: Activation
    relevance: Relevance
    indices: Tensor
    """Index of each sample, int64 (pictures,)."""
    keys: list[str]
    """Name of each sample in its source."""
    digests: list[int]
    """Hash of the pixels of each picture, from 0 to 2**64 - 1."""
    reduce: Reduce = reduce
    sums: dict[str, list[Tensor]] = field(default_factory=dict)
    """Relevance summed over positions, by layer: (pictures of a part, channels) each."""
    fired: dict[str, list[Tensor]] = field(default_factory=dict)
    """Shares of the largest outputs, by layer, where they are summed by class."""

    @cached_property
    def drawn(self) -> list[int]:
        """The number that each picture draws; see `bands`."""
        return bands.draw(self.digests, self.tally.seed)

    @cached_property
    def levels(self) -> Tensor:
        """The level of each picture, int64 (pictures,)."""
        return bands.levels(self.drawn)

    def visit(self, part: slice, layer: str, mode: Mode, maps: Tensor) -> None:
        """Add the maps (pictures, channels, height, width) of a part of the batch."""
        flat = maps.flatten(2)
        rule = self.activation if mode == "activation" else self.relevance
        largest, total, positive = self.reduce(maps, mode == "activation")
        values = largest if rule.aggregate == "max" else total
        scores = shares(values) if rule.normalize else values
        if not torch.isfinite(scores).all():
            keys = ", ".join(self.keys[part][:3])
            raise UserError(f"{mode} of layer {layer} is not finite on a batch with {keys}")
        if layer not in self.tally.layers:
            self.tally.layers[layer] = empty_layer(maps, self.tally)
        tally = self.tally.layers[layer]
        indices = self.indices[part].to(maps.device)
        peaks = _Peaks(flat)
        topk.update(tally.top[mode], scores, indices, peaks)
        if positive is not None:
            if tally.bands is not None:
                bands.update(
                    tally.bands, largest, indices, self.levels[part].to(maps.device), peaks
                )
            with in_range(layer, "activation", self.keys[part]):
                tally.mean_sum.add_all(total / flat.shape[2])
            tally.maximum = torch.maximum(tally.maximum, largest.amax(dim=0))
            tally.positive_count += positive.sum(dim=0)
            found = bins(largest).T
            tally.histogram.scatter_add_(1, found, torch.ones_like(found))
            share = shares(largest.clamp(min=0))
            if tally.class_fired_sum is not None:
                self.fired.setdefault(layer, []).append(share)
            fired = products.gridded(share)
            tally.gridded_sum += fired.sum(dim=0).long()
            with in_range(layer, "activation", self.keys[part]):
                # Which bounds the products of two shares, of which none is larger than 1.
                exactsum.check(tally.gridded_sum.double() * 2.0**products.BITS)
            tally.product_sum += products.products(fired, fired)
        else:
            self.sums.setdefault(layer, []).append(total)

    def finish(self, labels: list[int | None], classes: Tensor, logits: Tensor) -> None:
        """Add what the logits say, and remember the pictures.

        Parameters
        ----------
        labels : list of (int or None)
            The network's output that is right for each picture, where that is known.
        classes : Tensor
            int64 (pictures,), the classes whose relevance was computed.
        logits : Tensor
            (pictures, classes).
        """
        tally = self.tally
        if not torch.isfinite(logits).all():
            keys = ", ".join(self.keys[:3])
            raise UserError(f"the network's output is not finite on a batch with {keys}")
        with_relevance = "relevance" in tally.modes
        if with_relevance and (unreached := tally.layers.keys() - self.sums.keys()):
            raise UserError(
                f"no relevance reaches layer {min(unreached)}: it does not lead to the network's "
                "output; leave it out of model.layers"
            )
        target = logits.float().gather(1, classes[:, None])[:, 0]
        gridded: dict[str, Tensor] = {}
        by_layer: list[Tensor] = []
        for layer, parts in self.sums.items():
            relevance, results = torch.cat(parts), tally.layers[layer].relevance
            assert results is not None, "a pass with relevance"
            share = shares(relevance)
            with in_range(layer, "relevance", self.keys):
                # The sum of sizes bounds that of each class, and the sums of products.
                results.share_abs_sum.add_all(share.abs())
                results.relevance_sum.add_all(relevance.sum(dim=1) * target.sign())
            results.share_sum.add_all(share)
            results.class_share_sum.add_rows(classes, share)
            by_layer.append(share)
            gridded[layer] = grid = products.gridded(share)
            results.gridded_sum += grid.sum(dim=0).long()
            results.gridded_square_sum += grid.square().sum(dim=0).long()
        for layer, parts in self.fired.items():
            sums = tally.layers[layer].class_fired_sum
            assert sums is not None, "they are kept only where they are wanted"
            sums.add_rows(classes, torch.cat(parts))
        _add_pairs(tally, gridded)
        if tally.fired_by_class and by_layer:
            both = zip(classes.tolist(), self.drawn, self.indices.tolist(), labels,
                       logits.argmax(dim=1).tolist(), torch.cat(by_layer, dim=1).float().cpu(),
                       strict=True)  # fmt: skip
            tally.samples += [ClassPicture(*known) for known in both]
            if len(tally.samples) > SLACK * classpictures.PER_CLASS * tally.outputs:
                tally.samples = classpictures.lowest(tally.samples)
        tally.images += len(self.keys)
        with in_range("the network's output", "output", self.keys):
            tally.logit_abs_sum.add_all(target.abs().cpu())
        tally.class_count += torch.bincount(classes, minlength=tally.outputs).cpu()
        guesses = logits.argmax(dim=1).tolist()
        drawn = self.drawn if tally.per_band else [0] * len(self.keys)
        found = zip(self.indices.tolist(), self.keys, labels, guesses, drawn, strict=True)
        for index, key, label, guess, number in found:
            tally.seen[index] = Seen(key, label, guess, number)
            tally.labelled += label is not None
            tally.correct += label == guess
        _forget(tally)


def shares(scores: Tensor) -> Tensor:
    """Divide (pictures, channels) by the sum of |score| over the channels of the layer."""
    return scores / (scores.abs().sum(dim=1, keepdim=True) + STABILISER)


def _add_pairs(tally: Tally, gridded: Mapping[str, Tensor]) -> None:
    """Add the products of the relevance shares of each layer and the one before."""
    if not gridded:
        return
    for lower, upper in pairwise(tally.layers):
        results = tally.layers[upper].relevance
        assert results is not None, "a pass with relevance"
        results.lower_product_sum += products.products(gridded[lower], gridded[upper])


@dataclass
class _Peaks:
    """Where some of the maps (pictures, channels, positions) are largest."""

    maps: Tensor

    @cached_property
    def every(self) -> Tensor:
        """Where each map is."""
        return self.maps.argmax(dim=2)

    def __call__(self, pictures: Tensor, channels: Tensor) -> Tensor:
        """Return the flat positions, int64 (some,), for pictures and channels, (some,) each."""
        # Many maps are picked more slowly than all are read.
        if "every" in self.__dict__ or 4 * len(pictures) > self.maps.shape[:2].numel():
            return self.every[pictures, channels]
        return self.maps[pictures, channels].argmax(dim=1)


def _forget(tally: Tally) -> None:
    """Drop the pictures that no channel keeps any more.

    That is done whenever twice as many are remembered as were kept the last time: then it takes
    little of the time, and what is remembered is bounded by what channels keep.
    """
    if len(tally.seen) > 2 * tally.kept + REMEMBERED:
        wanted = kept(tally)
        tally.seen = {index: seen for index, seen in tally.seen.items() if index in wanted}
        tally.kept = len(wanted)
