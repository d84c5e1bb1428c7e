"""Patches of an interrupted run are not made again, and the files are the same bytes."""

import shutil
from dataclasses import replace

import pytest

from atlas.indexing.build import ENCODE_BATCH, VECTORS, index_patches, localise_patches
from atlas.pipeline.inputs import Inputs
from atlas.recipe import load
from atlas.store import open_store
from atlas.store.unfinished import Unfinished


def stopping(function, after):
    """Return the function, which fails after so many calls, and the list of its calls."""
    calls = []

    def call(*arguments):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(arguments)
        return function(*arguments)

    return call, calls


@pytest.fixture
def inputs(project):
    return Inputs(load(str(project / "tiny.toml"), ()))


@pytest.fixture
def store(built, tmp_path):
    return open_store(shutil.copytree(built, tmp_path / "copy"))


def test_the_index_goes_on_where_it_stopped(built, store, inputs, tmp_path):
    def run(after):
        maps, calls = stopping(inputs.encoder.maps, after)
        encoder = replace(inputs.encoder, maps=maps)
        return calls, index_patches(store, encoder, Unfinished(tmp_path / "kept", "these", 0))

    (store.root / "patches.faiss").unlink()
    with pytest.raises(KeyboardInterrupt):
        run(after=1)
    calls, said = run(after=None)
    assert len(calls) == -(-store.rows("images") // ENCODE_BATCH) - 1  # none is encoded twice
    assert said == open_store(built).manifest()["index"]
    for name in ("patches.faiss", "channels.parquet"):
        assert (store.root / name).read_bytes() == (built / name).read_bytes()


def test_vectors_of_something_else_are_not_gone_on_with(built, store, inputs, tmp_path):
    """Neither those of other inputs, nor a file that is not as long as it should be."""
    kept = Unfinished(tmp_path / "kept", "these", 0)
    index_patches(store, inputs.encoder, kept)
    right = (store.root / "patches.faiss").read_bytes()
    (store.root / VECTORS).write_bytes(b"\0" * 40)
    index_patches(store, inputs.encoder, kept)
    assert (store.root / "patches.faiss").read_bytes() == right
    (store.root / VECTORS).write_bytes(b"\0" * (store.root / VECTORS).stat().st_size)
    index_patches(store, inputs.encoder, Unfinished(tmp_path / "kept", "those", 0))
    assert (store.root / "patches.faiss").read_bytes() == right


def test_so_do_boxes_and_masks(built, store, inputs, tmp_path):
    def run(after):
        engine, calls = stopping(inputs.locating, after)
        localise_patches(
            store, engine, inputs.fields, inputs.network.preprocessing,
            inputs.recipe.relevance.target, 8, inputs.network.device,
            Unfinished(tmp_path / "kept", "these", 0),
        )  # fmt: skip
        return calls

    (store.root / "masks.npy").unlink()
    with pytest.raises(KeyboardInterrupt):
        run(after=3)
    assert len(run(after=None)) == 1  # 30 pictures by 8
    assert run(after=None) == []  # all is there, should the index be interrupted next
    for name in ("masks.npy", "references.parquet"):
        assert (store.root / name).read_bytes() == (built / name).read_bytes()


def test_what_was_done_with_something_else_is_ignored(tmp_path, store, inputs):
    path = tmp_path / "kept"
    Unfinished(path, "these", 0).save({})
    assert Unfinished(path, "these", 0).load() == {}
    assert Unfinished(path, "those", 0).load() is None
    path.write_bytes(b"\x10" * 100)
    assert Unfinished(path, "these", 0).load() is None
    assert Unfinished(tmp_path / "none", "these", 0).load() is None
