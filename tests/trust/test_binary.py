"""Indexes and tensors of an atlas from elsewhere: refused by their sizes, never a dead process."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest

TURN = """
import sys
from pathlib import Path
import faiss, numpy as np
from atlas.errors import UserError
from atlas.patches import vectors
from atlas.store import indexfile

random = np.random.default_rng(0)
kind, dimension = sys.argv[1], int(sys.argv[2])
path = Path(sys.argv[3])
data = random.normal(size=(700, dimension)).astype(np.float32)
data /= np.linalg.norm(data, axis=1, keepdims=True)
index = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
index.train(data)
index.add(data)
whole = bytes(faiss.serialize_index(index))
path.write_bytes(whole)
assert indexfile.load(path).ntotal == 700

def attempt(content):
    path.write_bytes(content)
    try:
        found = indexfile.load(path)
    except UserError:
        return 1
    found.search(np.ones((1, found.d), np.float32), 5)
    if found.ntotal:
        vectors.of_rows(found, np.arange(min(5, found.ntotal)))
    return 0

refused = tried = 0
places = [*range(0, 160, 2), *range(len(whole) - 40, len(whole), 3)]
at = whole.find(b"ilar")
if at > 0:
    places += range(at - 160, at + 200, 3)
for place in places:
    for bad in (b"\\xff", b"\\x00", b"\\x7f", b"\\xff\\xff\\xff\\x7f", b"\\xff" * 8,
                b"\\0\\0\\0\\0\\0\\0\\0\\x40"):
        if place + len(bad) <= len(whole):
            tried += 1
            refused += attempt(whole[:place] + bad + whole[place + len(bad):])
for end in range(0, len(whole), 2999):
    tried += 1
    refused += attempt(whole[:end])
    refused += attempt(whole[:end] + whole)
for other in ("IDMap,Flat", "HNSW4", "LSH", "PQ2x4", "IVF4,Flat", "IVF4,PQ2x4"):
    other = faiss.index_factory(dimension, other)
    other.train(data)
    other.add_with_ids(data, np.arange(700)) if "IDMap" in str(type(other)) else other.add(data)
    assert attempt(bytes(faiss.serialize_index(other))) == 1
print(refused, tried)
"""


@pytest.mark.parametrize(
    ("kind", "dimension"), [("Flat", 8), ("IVF12,SQ8", 8), ("PCA4,IVF12,SQ8", 8)]
)
def test_no_index_ends_the_process(tmp_path, kind, dimension):
    command = [sys.executable, "-c", TURN, kind, str(dimension), str(tmp_path / "patches.faiss")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr[-2000:]
    refused, tried = map(int, result.stdout.split())
    assert refused > 0.3 * tried


def test_an_index_that_does_not_fit_the_atlas_is_refused(place, honest, atlas_command):
    import faiss

    picture = honest.parent / "picture.png"
    path = place.atlas / "patches.faiss"
    index = faiss.read_index(str(path))
    for rows, dimension in ((index.ntotal - 1, index.d), (index.ntotal, index.d + 1)):
        other = faiss.IndexFlatIP(dimension)
        other.add(np.ones((rows, dimension), np.float32))
        faiss.write_index(other, str(path))
        ended = atlas_command("lookup", place.atlas, "--image", picture)
        assert ended.status == 2
        assert "patches.faiss" in ended.err
        assert atlas_command("diff", place.atlas, honest, "--by", "patches").status == 2
        assert atlas_command("verify", place.atlas).status == 1


HEADS = {
    "length": struct.pack("<Q", 2**63) + b"{}",
    "longer than the file": struct.pack("<Q", 10**6) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"[[[[",
    "deep": struct.pack("<Q", 90_000) + b"[" * 90_000,
    "empty": b"",
    **{
        what: struct.pack("<Q", len(text)) + text.encode() + bytes(16)
        for what, text in {
            "huge": '{"done":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,16]}}',
            "overflow": '{"done":{"dtype":"F32","shape":[4611686018427387904,4,8],'
            '"data_offsets":[0,16]}}',
            "negative": '{"done":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}',
            "outside": '{"done":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}',
            "backwards": '{"done":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}',
            "strange": '{"done":{"dtype":"F8_E4M3","shape":[16],"data_offsets":[0,16]}}',
            "bfloat16": '{"done":{"dtype":"BF16","shape":[8],"data_offsets":[0,16]}}',
            "text": '{"done":{"dtype":"U1","shape":[4],"data_offsets":[0,16]}}',
        }.items()
    },
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_no_tensors_end_the_process(tmp_path, head):
    import torch

    from atlas.errors import UserError
    from atlas.model import weights
    from atlas.store.unfinished import Unfinished

    path = tmp_path / "where.safetensors"
    path.write_bytes(head)
    found = Unfinished(path, "inputs", 1).load()
    assert not found or set(found) == {"done"}
    with_inputs = head
    if head[8:9] == b"{" and b"done" in head:
        size = struct.unpack("<Q", head[:8])[0]
        text = json.loads(head[8 : 8 + size]) | {"__metadata__": {"inputs": "inputs"}}
        raw = json.dumps(text).encode()
        with_inputs = struct.pack("<Q", len(raw)) + raw + head[8 + size :]
    path.write_bytes(with_inputs)
    Unfinished(path, "inputs", 1).load()
    try:
        weights.fill(torch.nn.Linear(1, 1), path)
    except UserError as error:
        assert "\n" not in str(error)


def test_a_table_that_unfolds_is_not_unfolded(place, atlas_command):
    """A file of a few kilobytes can say that one value stands in it a thousand million times."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = place.atlas / "channels.parquet"
    count = 20_000_000
    column = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(count, np.int32)), pa.array(["planted" * 1000])
    )
    numbers = {
        name: pa.array(np.zeros(count, kind))
        for name, kind in (("channel", np.int32), ("images", np.int64))
    }
    pq.write_table(pa.table({"layer": column, **numbers}), path, compression="zstd")
    assert path.stat().st_size < 1 << 20
    ended = atlas_command("show", place.atlas, "planted:3")
    assert ended.status == 2
    assert "channels.parquet" in ended.err
