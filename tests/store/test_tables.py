"""Tables of an atlas: what is the same is not written again."""

import shutil

from atlas.store import open_store


def test_a_table_that_has_the_columns_already_is_left_as_it_is(built, tmp_path):
    store = open_store(shutil.copytree(built, tmp_path / "copy"))
    path = store.table_path("classes")
    before = path.stat().st_ino, path.read_bytes()
    counts, names = (store.table("classes")[name].to_pylist() for name in ("count", "name"))

    store.extend_table("classes", {"count": counts})
    assert (path.stat().st_ino, path.read_bytes()) == before

    changed = [count + 1 for count in counts]
    store.extend_table("classes", {"count": changed})
    assert store.table("classes")["count"].to_pylist() == changed
    assert store.table("classes")["name"].to_pylist() == names
