"""How many things a channel means: its references' vectors are clustered.

A channel has more than one sense when its references fall into groups that are well
separated: mean silhouette (Rousseeuw 1987, cosine distance) of at least `APART`, and no group
of less than `LEAST` of the references, nor of fewer than `FEWEST`.
"""

import faiss
import numpy as np
import numpy.typing as npt

APART = 0.3
LEAST = 0.15
FEWEST = 3
MOST_SENSES = 4

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def split(vectors: Vectors) -> Labels:
    """Return which sense each reference belongs to: 0 for the most frequent one.

    Parameters
    ----------
    vectors : array
        float32 (references, dimension), rows of length one.

    Returns
    -------
    array
        int64 (references,); all zero where there is one sense only.
    """
    best, labels = APART, np.zeros(len(vectors), np.int64)
    for count in range(2, min(MOST_SENSES, len(vectors) // FEWEST) + 1):
        tried = _cluster(vectors, count)
        sizes = np.bincount(tried, minlength=count)
        if sizes.min() < max(FEWEST, LEAST * len(vectors)):
            continue
        apart = silhouette(vectors, tried)
        if apart >= best:
            order = np.argsort(-sizes, kind="stable")
            best, labels = apart, np.argsort(order)[tried]
    return labels


def silhouette(vectors: Vectors, labels: Labels) -> float:
    """Return the mean silhouette of clusters by cosine distance, -1 to 1.

    Parameters
    ----------
    vectors : array
        float32 (n, dimension), rows of length one.
    labels : array
        int64 (n,), at least two different ones.
    """
    distance = 1 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(distance, 0)
    member = labels[:, None] == np.unique(labels)
    sums, sizes = distance @ member, member.sum(0)
    own = member.argmax(1)
    every = np.arange(len(labels))
    inside = sums[every, own] / np.maximum(sizes[own] - 1, 1)
    mean = sums / sizes
    mean[every, own] = np.inf
    outside = mean.min(1)
    values = (outside - inside) / np.maximum(np.maximum(inside, outside), 1e-12)
    return float(np.where(sizes[own] > 1, values, 0).mean())


def _cluster(vectors: Vectors, count: int) -> Labels:
    means = faiss.Kmeans(
        vectors.shape[1],
        count,
        spherical=True,
        seed=0,
        nredo=5,
        niter=20,
        min_points_per_centroid=1,
    )
    means.train(np.ascontiguousarray(vectors))
    labels: Labels = means.index.search(np.ascontiguousarray(vectors), 1)[1][:, 0]
    return labels
