"""`atlas show` prints what stands in the tables."""

import json

import pytest

import atlas


@pytest.fixture(scope="module")
def a(named) -> atlas.Atlas:
    return atlas.open(named)


def test_as_json(a, named, run):
    result = run("show", named, "features.30:2", "--json")
    assert result.returncode == 0, result.stderr
    shown = json.loads(result.stdout)
    channel = a["features.30:2"]
    row = a.channels.to_pylist()[channel.row]
    assert shown["address"] == "features.30:2"
    assert shown["permalink"] == "channels/features.30/2.html"
    assert (shown["name"], shown["description"]) == (row["name"], row["description"])
    assert shown["status"] == row["name_status"]
    assert [sense["name"] for sense in shown["senses"]] == [s["name"] for s in row["senses"]]
    assert shown["statistics"]["act_max"] == row["act_max"]
    assert shown["scores"]["score_ap"] == row["score_ap"]
    assert [n["similarity"] for n in shown["neighbours"]] == row["neighbour_similarities"]
    table = a.references.to_pandas()
    mine = table[(table["layer"] == "features.30") & (table["channel"] == 2)]
    assert [r["score"] for r in shown["references"]] == mine["score"].to_list()
    assert [tuple(r["box"]) for r in shown["references"]] == list(
        mine[["x0", "y0", "x1", "y1"]].itertuples(index=False, name=None)
    )


def test_for_people(a, named, run):
    result = run("show", named, "planted:3")
    assert result.returncode == 0, result.stderr
    text = " ".join(result.stdout.split())
    channel = a["planted:3"]
    assert text.startswith(f"channel planted:3 atlas {a.id} page channels/planted/3.html name star")
    assert "named by planted truth" in text
    assert f"top class {channel.top_classes[0][0]}: {channel.top_classes[0][1]:.2%}" in text
    assert channel.references()[0].key in text
    assert channel.neighbours()[0][0].address in text


def test_without_names(indexed, run):
    result = run("show", indexed, "3:2")
    assert result.returncode == 0, result.stderr
    assert "name" not in [line.split("  ")[0] for line in result.stdout.splitlines()]
