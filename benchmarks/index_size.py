"""Tell at which size the patch index should be compressed.

Prints, for growing numbers of patch vectors, the size, the time of one query and the recall
of an exact index and of the compressed one that `atlas.patches.vectors` makes above its limit.

    python benchmarks/index_size.py [--dimension 512] [--counts 10000 30000 100000 300000]

Vectors are drawn around one centre for each channel, 80 to a channel, as references of one
channel are alike.
"""

import argparse
import time
from unittest.mock import patch

import faiss
import numpy as np

from atlas.patches import vectors

PER_CHANNEL = 80
QUERIES = 200


def draw(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    """Return unit vectors (count, dimension) around one centre for every 80 of them."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((count // PER_CHANNEL + 1, dimension), np.float32)
    of = np.arange(count) // PER_CHANNEL
    drawn = centres[of] + random.standard_normal((count, dimension), np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def measure(data: np.ndarray, flat: bool) -> tuple[str, float, float, float, float]:
    """Return factory, seconds to build, bytes for each vector, ms for a query, recall."""
    limit = len(data) if flat else 0
    begin = time.perf_counter()
    with patch.multiple(vectors, FLAT_LIMIT=limit, FLAT_BYTES=10**12):
        size = vectors.sample_size(*data.shape)
        sample = data[np.linspace(0, len(data) - 1, size).astype(int)]
        built = vectors.begin(sample, *data.shape)
        for chunk in np.array_split(data, len(data) // 1000):
            vectors.add(built, chunk)
    seconds = time.perf_counter() - begin
    size = faiss.serialize_index(built.index).nbytes / len(data)
    queries = data[:: len(data) // QUERIES][:QUERIES]
    begin = time.perf_counter()
    for query in queries:
        built.index.search(query[None], vectors.NEIGHBOURS)
    milliseconds = (time.perf_counter() - begin) / len(queries) * 1000
    return built.factory, seconds, size, milliseconds, vectors.recall(built, data.__getitem__)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000])
    arguments = parser.parse_args()
    print(f"| vectors | index | build s | bytes each | ms a query | recall@{vectors.NEIGHBOURS} |")
    print("|--:|:--|--:|--:|--:|--:|")
    for count in arguments.counts:
        data = draw(count, arguments.dimension)
        for flat in (True, False):
            kind, seconds, size, milliseconds, recall = measure(data, flat)
            print(
                f"| {count:,} | {kind} | {seconds:.1f} | {size:.0f} | {milliseconds:.2f} "
                f"| {recall:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
