"""Tables of an atlas: what is the same is not written again."""

from atlas.store import Store


def test_a_table_that_has_the_columns_already_is_left_as_it_is(tmp_path):
    store = Store(tmp_path)
    columns = {"label": [0, 1], "name": ["cat", "dog"], "count": [3, 4], "shares": [[0.5], [0.25]]}
    store.write_table("classes", columns)
    path = store.table_path("classes")
    before = path.stat().st_ino, path.read_bytes()

    store.extend_table("classes", {"count": [3, 4]})
    assert (path.stat().st_ino, path.read_bytes()) == before

    store.extend_table("classes", {"count": [3, 5]})
    assert store.table("classes")["count"].to_pylist() == [3, 5]
    assert store.table("classes")["name"].to_pylist() == ["cat", "dog"]

    store.extend_table("classes", {"fired": [[0.5], [0.25]]})
    assert store.table("classes").column_names == [*columns, "fired"]
