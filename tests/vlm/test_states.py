"""An atlas that is indexed anew: records of another state are kept, skipped, and never misread."""

import itertools
import json
import shutil
from dataclasses import replace

import pytest

from atlas import vlm
from atlas.store import SCORES_FILE, journal, names, open_store, states
from tests.trust.conftest import command

CHANGES = {
    "smaller k": ["prepass.k=3"],
    "other data": ["data.source=folder:{other}"],
    "another network": ["model.name={root}/other.py:make"],
}

NAMER = [f"naming.vlm={vlm.DEMO}", "naming.prompt=brief", "naming.side=48", "naming.references=3",
         "naming.contrast=1", "naming.max_tokens=60", "scoring.prompt=fits-brief",
         "scoring.patches=4", "scoring.resamples=10"]  # fmt: skip


def settings(changes) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.fixture(scope="module")
def states_of(project, tmp_path_factory, made_once) -> dict[str, list[str]]:
    """What `atlas index` is given for each state."""
    root = tmp_path_factory.mktemp("states")
    other = shutil.copytree(project / "pictures", root / "other")
    for number, path in enumerate(sorted(other.rglob("*.png"))):
        if number % 3 == 0:
            path.unlink()
    text = (project / "network.py").read_text()
    (root / "other.py").write_text(text.replace("manual_seed(3)", "manual_seed(4)"))
    filled = {
        name: [change.format(other=other, root=root) for change in changes]
        for name, changes in CHANGES.items()
    }
    return {"as it was": [], **filled}


@pytest.fixture(scope="module")
def named_once(project, built, tmp_path_factory) -> object:
    """The atlas of the project, named in every way, scored and explained."""
    root = tmp_path_factory.mktemp("named") / "atlas"
    shutil.copytree(built, root)
    for arguments in commands(root, project, slow=True):
        done = command(*arguments)
        assert done.status == 0, (arguments, done.err)
    return root


def commands(root, project, *, slow: bool):
    """Every command that reads an atlas, and those that write records first."""
    more = ["--trust-code", *settings(NAMER)]
    picture = next((project / "pictures" / "disc").glob("*.png"))
    out = root.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    yield ["name", root, *more]
    yield ["name", root, *more, "--set", "naming.method=labels"]
    yield ["rename", root, "0:1", "left edges", "--by", "A. Person"]
    yield ["score", root, *more]
    yield ["show", root, "0:1"]
    yield ["show", root, "0:1", "--json"]
    yield ["lookup", root, "left edges"]
    yield ["cite", root, "0:1"]
    yield ["explain", root, picture, "--trust-code"]
    yield ["export", root, out / "csv", "--format", "csv"]
    if slow:
        yield ["export", root, out / "hf"]
        yield ["site", root]
        yield ["verify", root]


PAIRS = [
    *(
        (one, other)
        for change in CHANGES
        for one, other in itertools.permutations(("as it was", change))
    ),
    ("smaller k", "other data"),
]


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_every_command_works_on_every_state(first, then, named_once, states_of, project, tmp_path):
    root = shutil.copytree(named_once, tmp_path / "atlas")
    for state in (first, then) if first != "as it was" else (then,):
        ways = settings(states_of[state])
        done = command("index", project / "tiny.toml", "--out", root, *ways)
        assert done.status == 0, done.err
    store = open_store(root)
    before = names.read(store)
    assert all(record.atlas for record in before)
    for arguments in commands(root, project, slow=first == "as it was"):
        done = command(*arguments)
        assert done.status == 0, (arguments, done.out, done.err)
        assert "Traceback" not in done.err
    records = names.read(store)
    assert records[: len(before)] == before  # nothing is taken away
    now = states.now(store)
    references = store.table("references").to_pylist()
    table = {(row["layer"], row["channel"]): row for row in store.table("channels").to_pylist()}
    for record in names.valid(store):
        rows = [*record.images, *record.details.get("members", ())]
        for row in rows:
            assert references[row]["layer"] == record.layer
            assert references[row]["channel"] == record.channel
        assert record.method == "person" or record.atlas == now.atlas
    asked = {(one.layer, one.channel) for one in names.valid(store) if one.method == "vlm"}
    assert asked == {(row["layer"], row["channel"]) for row in references}
    said = {(r.layer, r.channel, r.name) for r in names.valid(store)}
    for (layer, channel), row in table.items():
        assert row["name"] is None or (layer, channel, row["name"]) in said
    for row in references:
        assert row.get("sense") is None or row["sense"] >= 0
    keys = {one["key"] for one in journal.read(root / SCORES_FILE) if one["atlas"] == now.atlas}
    scored = sum(row["score_ap"] is not None for row in table.values())
    assert scored <= len(keys)


def test_records_without_a_state_get_the_one_that_ends(built, project, run, tmp_path):
    """As earlier versions wrote them."""
    root = shutil.copytree(built, tmp_path / "atlas")
    assert command("rename", root, "0:1", "left edges", "--by", "A. Person").status == 0
    path = root / "names.jsonl"
    record = json.loads(path.read_text())
    old = {key: value for key, value in record.items() if key not in ("atlas", "network")}
    labels = {**old, "record": 1, "channel": 2, "method": "labels", "name": "red"}
    path.write_text(json.dumps(old) + "\n" + json.dumps(labels) + "\n")
    store = open_store(root)
    assert [one.name for one in names.valid(store)] == ["left edges", "red"]
    ways = settings(["prepass.k=3"])
    assert command("index", project / "tiny.toml", "--out", root, *ways).status == 0
    assert [one.name for one in names.valid(store)] == ["left edges"]  # of the same network
    first, second = names.read(store)
    assert (first.atlas, first.network) == (record["atlas"], record["network"])
    assert (second.name, second.atlas) == ("red", record["atlas"])
    assert command("index", project / "tiny.toml", "--out", root).status == 0
    assert [one.name for one in names.valid(store)] == ["left edges", "red"]


def test_the_same_question_is_not_asked_again_in_another_state(built, project, tmp_path):
    """Another seed is another state with the same references."""
    root = shutil.copytree(built, tmp_path / "atlas")
    more = ["--trust-code", *settings([*NAMER, "naming.contrast=0"])]
    assert command("name", root, *more).status == 0
    store = open_store(root)
    before = names.read(store)
    assert command("index", project / "tiny.toml", "--out", root, "--set", "seed=7").status == 0
    assert names.valid(store) == []
    done = command("name", root, *more, "--questions", tmp_path / "q.jsonl")
    assert done.status == 0, done.err
    assert "No question is open." in done.out
    now = states.now(store)
    taken = [replace(one, record=0, time="", atlas=now.atlas) for one in before]
    assert [replace(one, record=0, time="") for one in names.valid(store)] == taken
