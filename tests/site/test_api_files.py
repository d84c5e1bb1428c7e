"""The files for programs: valid by their schemas, and the same as the tables."""

import json
from pathlib import Path

import jsonschema
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from atlas.store import open_store


def read(path: Path):
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def api(planted) -> Path:
    return planted / "site" / "api" / "v1"


@pytest.mark.parametrize(
    ("name", "files"),
    [("index", "index.json"), ("channel", "channels/*/*.json"), ("class", "classes/*.json")],
)
def test_every_file_is_valid_by_its_schema(api, name, files):
    validator = jsonschema.Draft202012Validator(read(api / "schema" / f"{name}.json"))
    validator.check_schema(validator.schema)
    found = sorted(api.glob(files))
    assert found
    for path in found:
        assert [error.message for error in validator.iter_errors(read(path))] == [], path


def test_a_channel_is_what_the_tables_say(planted, api):
    store = open_store(planted)
    keys = store.table("images")["key"].to_pylist()
    for row in store.table("channels").to_pylist():
        found = read(api / "channels" / row["layer"] / f"{row['channel']}.json")
        assert found["address"] == f"{row['layer']}:{row['channel']}"
        name = row["name"] and row["name"].replace("\u202e", "")  # it would turn what is behind it
        assert found["name"] == (name and " ".join(name.split()))
        assert found["scores"]["ap"] == row["score_ap"]
        assert found["state"] == row["name_state"]
        assert (found["used_for"], found["fires_for"]) == (row["used_for"], row["fires_for"])
        assert found["statistics"]["rel_mean"] == row["rel_mean"]
        shares = zip(row["top_classes"], row["top_class_shares"], strict=True)
        assert [c["class"] for c in found["classes"]] == [label for label, s in shares if s > 0]
        mine = [
            r for r in store.table("references").to_pylist()
            if (r["layer"], r["channel"]) == (row["layer"], row["channel"])
        ]  # fmt: skip
        for mode in ("activation", "relevance"):
            expected = [(r["score"], keys[r["image"]]) for r in mine if r["mode"] == mode]
            assert [(r["score"], r["key"]) for r in found["references"][mode]] == expected


def test_every_file_of_the_index_is_there(planted, api):
    index = read(api / "index.json")
    site = planted / "site"
    for entry in index["layers"]:
        for channel in entry["channels"]:
            assert (site / entry["files"].replace("CHANNEL", str(channel))).is_file()
    for name in (*(entry["file"] for entry in index["classes"]), *index["tables"]):
        assert (site / name).is_file()


def test_tables_are_those_of_the_atlas_and_csv_has_their_rows(planted, api):
    for name in ("channels", "references", "images", "classes"):
        table = pq.read_table(api / "tables" / f"{name}.parquet")
        assert table.equals(open_store(planted).table(name))
        options = pyarrow.csv.ParseOptions(newlines_in_values=True)
        csv = pyarrow.csv.read_csv(api / "tables" / f"{name}.csv", parse_options=options)
        assert csv.num_rows == table.num_rows
