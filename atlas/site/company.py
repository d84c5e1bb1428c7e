"""Channels that fire together: they have the same pictures among their references."""

from functools import cached_property

import numpy as np

from atlas.site.catalogue import Catalogue, Integers

LEAST = 2
"""Shared pictures below which two channels have met by chance."""


class Company:
    """Finds for each channel those that answer to the same pictures."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def of(self, row: int, count: int) -> list[tuple[int, int]]:
        """Return the rows of channels with most activation references in the same pictures.

        Returns
        -------
        list of tuple
            Row and number of shared pictures, most first, at most `count` of them.
        """
        channels, starts = self._by_image
        mine = self._images[row]
        if not len(mine):
            return []
        met = np.concatenate([channels[starts[image] : starts[image + 1]] for image in mine])
        shared = np.bincount(met, minlength=len(self._images))
        shared[row] = 0
        best = np.argsort(-shared, kind="stable")[:count]
        return [(int(other), int(shared[other])) for other in best if shared[other] >= LEAST]

    @cached_property
    def _activation(self) -> tuple[Integers, Integers]:
        catalogue = self._catalogue
        chosen = ~catalogue.by_relevance
        return catalogue.channel_of[chosen], catalogue.images_of[chosen]

    @cached_property
    def _images(self) -> list[Integers]:
        """The pictures of each channel's activation references."""
        channels, images = self._activation
        order = np.argsort(channels, kind="stable")
        every = np.arange(len(self._catalogue.channels) + 1)
        starts = np.searchsorted(channels[order], every)
        return np.split(images[order], starts[1:-1])

    @cached_property
    def _by_image(self) -> tuple[Integers, Integers]:
        """The channels of each picture, and where each picture's begin."""
        channels, images = self._activation
        order = np.argsort(images, kind="stable")
        every = np.arange(int(images.max(initial=-1)) + 2)
        return channels[order], np.searchsorted(images[order], every)
