"""Names that fit one side of a channel, and the states of names."""

import json
import shutil
from dataclasses import replace

import pytest

from atlas.errors import UserError
from atlas.naming import asking, sides
from atlas.naming.selection import ReferenceSelector
from atlas.patches.views import References, view
from atlas.recipe import Naming
from atlas.store import MODES, STATES, TESTED, Store, names, nametests, open_store, standing
from atlas.store.names import NameRecord

SETTINGS = Naming(prompt="brief", side=32, references=3, contrast=0, senses=False)


@pytest.fixture
def atlas_copy(built, tmp_path) -> Store:
    copy = tmp_path / "atlas"
    shutil.copytree(built, copy, ignore=shutil.ignore_patterns("site", "pages"))
    return open_store(copy)


class Looking:
    """Says "red" of what relevance chose, and "blue" of the rest; knows both when it sees them.

    Of every second channel what activation chose is red as well.
    """

    id, revision, decoding, facts = "looking", None, {"greedy": True}, {}

    def __init__(self, store, other="blue"):
        references, self.used = References(store), set()
        table = store.table("channels").to_pydict()
        for number, address in enumerate(zip(table["layer"], table["channel"], strict=True)):
            for row in [
                *references.of(*address, "relevance"),
                *(references.of(*address, "activation") if number % 2 else ()),
            ]:
                self.used.add(view(references.patch(row), SETTINGS.view, 32).tobytes())
        self.other, self.fits = other, 0

    def _seen(self, request):
        return all(image.tobytes() in self.used for image in request.images)

    def ask(self, requests):
        return [
            json.dumps({"name": "red" if self._seen(one) else self.other, "confidence": 1})
            for one in requests
        ]

    def yes(self, requests):
        self.fits += len(requests)
        return [float(("red" in one.text) == self._seen(one)) for one in requests]


def finish(store, model):
    asking.name_channels(store, model, SETTINGS, "fits-brief")
    names.write_columns(store, "vlm")
    standing.write_columns(store, "vlm")
    return store.table("channels").to_pylist()


def test_a_name_that_does_not_fit_the_other_side_gets_a_second_one(atlas_copy):
    model = Looking(atlas_copy)
    rows = finish(atlas_copy, model)
    references = References(atlas_copy)
    states = {row["name_state"] for row in rows}
    assert "one-sided" in states and "untested" in states
    for row in rows:
        shown = {mode: references.of(row["layer"], row["channel"], mode)[:3] for mode in MODES}
        if not all(shown.values()):  # nothing to compare
            assert row["fits_activation"] is None
            continue
        views = [
            view(references.patch(one), SETTINGS.view, 32).tobytes() for one in shown["activation"]
        ]
        fitting = sum(one in model.used for one in views) / len(views)
        assert row["fits_activation"] == pytest.approx(fitting)
        assert row["fits_relevance"] == 1
        both = (row["used_for"], row["fires_for"])
        if fitting <= 0.25:
            assert row["name_state"] == "one-sided"
            assert both == ("red", "red" if all(one in model.used for one in views) else "blue")
        else:
            assert row["name_state"] == "untested" and both == (None, None)
    asked, tests = len(names.read(atlas_copy)), model.fits
    assert finish(atlas_copy, model) == rows  # once, and for good
    assert (len(names.read(atlas_copy)), model.fits) == (asked, tests)


@pytest.mark.parametrize(("said", "counts"), [("red", True), ("star", False), ("blue", False)])
def test_what_is_broader_and_fits_both_sides_counts(atlas_copy, said, counts):
    """A channel fires for what relevance chose as well, so that its name has to hold there."""

    class Narrow(Looking):
        """Says "red star" of what activation chose; what relevance chose is red and no star."""

        def ask(self, requests):
            return [
                json.dumps({"name": said if self._seen(one) else "red star", "confidence": 1})
                for one in requests
            ]

        def yes(self, requests):
            self.fits += len(requests)
            return [float(not ("star" in one.text and self._seen(one))) for one in requests]

    def named():
        asking.name_channels(atlas_copy, model, replace(SETTINGS, mode="activation"), "fits-brief")
        names.write_columns(atlas_copy, "vlm")
        standing.write_columns(atlas_copy, "vlm")
        return atlas_copy.table("channels").to_pylist()

    model = Narrow(atlas_copy)
    rows = {(row["layer"], row["channel"]): row for row in named()}
    asked = [
        side
        for named_ in names.current(names.valid(atlas_copy), "vlm").values()
        for side in named_.sides
        if named_.best.name == "red star" and side.side == "relevance"
    ]
    assert asked
    for record in asked:
        row = rows[record.layer, record.channel]
        assert row["name"] == (said if counts else "red star")
        assert row["fits_relevance"] == float(counts)
        assert (row["name_state"] == "one-sided") == (not counts)
    tested = {names.whose(one) for one in nametests.sides(atlas_copy)}
    assert tested.issuperset(map(names.whose, asked)) == (said != "blue")
    done, fits = len(names.read(atlas_copy)), model.fits
    assert named() == list(rows.values())  # once, and for good
    assert (len(names.read(atlas_copy)), model.fits) == (done, fits)
    tests = nametests.every(atlas_copy, nametests.SIDES)
    assert len({one["key"] for one in tests}) == len(tests)


def test_where_the_other_side_has_nothing_in_common_it_has_no_name(atlas_copy):
    rows = finish(atlas_copy, Looking(atlas_copy, other=None))
    sided = [row for row in rows if row["name_state"] == "one-sided"]
    assert sided
    assert {(row["used_for"], row["fires_for"]) for row in sided} == {("red", None)}


def test_the_same_name_for_both_sides_is_no_second_one(atlas_copy):
    rows = finish(atlas_copy, Looking(atlas_copy, other="Reds"))
    assert "one-sided" not in {row["name_state"] for row in rows}


def test_earlier_names_count_again_on_the_side_that_they_were_made_from(atlas_copy):
    class Sides(Looking):
        """Takes what only one mode chose for one thing, and is asked about both."""

        def yes(self, requests):
            self.fits += len(requests)
            # A patch that relevance chose fits "red" alone, any other one "blue" alone.
            return [float(("red" in one.text) == self._seen(one)) for one in requests]

    model = Sides(atlas_copy)
    first = finish(atlas_copy, model)
    asking.name_channels(atlas_copy, model, replace(SETTINGS, mode="activation"), "fits-brief")
    names.write_columns(atlas_copy, "vlm")
    standing.write_columns(atlas_copy, "vlm")
    references = References(atlas_copy)
    sided = 0
    for row, was in zip(atlas_copy.table("channels").to_pylist(), first, strict=True):
        if row["name_state"] == "one-sided":  # asked from the other side, the same is found
            sided += 1
            assert (row["used_for"], row["fires_for"]) == ("red", row["name"])
            assert row["name"] == was["fires_for"]
    assert sided
    asked = model.fits
    assert finish(atlas_copy, model) == first
    assert model.fits == asked
    tests = {names.whose(one): one for one in nametests.sides(atlas_copy)}
    for record in names.current(names.valid(atlas_copy), "vlm").values():
        rows = references.of(record.best.layer, record.best.channel, "relevance")
        assert not rows or set(record.best.images) <= set(rows)
        assert not rows or tests[names.whose(record.best)].side == "relevance"


def test_a_name_of_the_other_mode_is_tested_as_one_of_its_own_side(atlas_copy):
    """As when the answers to the names of this mode are still to come."""
    model = Looking(atlas_copy)
    asking.name_channels(atlas_copy, model, replace(SETTINGS, mode="activation"), "fits-brief")
    selector = ReferenceSelector(atlas_copy, References(atlas_copy), SETTINGS)
    sides.contradicted(atlas_copy, model, selector, SETTINGS, "fits-brief")
    assert {one.side for one in nametests.sides(atlas_copy)} == {"activation"}


def test_a_model_that_breaks_leaves_names_untested(atlas_copy, caplog):
    class Broken(Looking):
        def yes(self, requests):
            raise RuntimeError("the model broke")

    rows = finish(atlas_copy, Broken(atlas_copy))
    assert {row["name_state"] for row in rows if row["name"]} == {"untested"}
    assert "is not tested: the model broke" in caplog.text


def test_tests_of_another_form_are_refused_in_one_line(atlas_copy):
    nametests.append(atlas_copy, [{"test": nametests.SIDES, "key": "k", "fits": {"relevance": 7}}])
    with pytest.raises(Exception, match=r"scores\.jsonl") as refused:
        nametests.sides(atlas_copy)
    assert type(refused.value).__name__ == "UserError"


@pytest.mark.parametrize(
    "wrong", [{"ap": 7.0}, {"ap": "x"}, {"ap": None}, {"frequent_ap": 1e308}, {"key": [1]}, {}]
)
def test_scores_of_another_form_are_refused_in_one_line(atlas_copy, wrong):
    measures = [*("base_rate", "borrowed_ap", "frequent_ap")]
    measures += [f"{m}{end}" for m in ("ap", "f1", "correlation") for end in ("", "_low", "_high")]
    good = {"test": nametests.RANGE, "key": "k", "name": "red", **dict.fromkeys(measures, 0.5)}
    nametests.append(atlas_copy, [good])
    assert [one["ap"] for one in nametests.ranges(atlas_copy)] == [0.5]
    nametests.append(atlas_copy, [{**good, **wrong} if wrong else {"test": nametests.RANGE}])
    with pytest.raises(UserError, match=r"scores\.jsonl is damaged .*a test on the whole range"):
        nametests.ranges(atlas_copy)


# States


def scores(name, low, **others):
    known = {"base_rate": 0.1, "borrowed_ap": 0.2, "frequent_ap": 0.3, **others}
    columns = {"name": name, "ap": 0.5, "ap_low": low, **known}
    return {f"score_{key}": value for key, value in columns.items()}


@pytest.mark.parametrize(
    ("record", "score", "state"),
    [
        (None, {}, None),
        ({"name": "red"}, {}, "untested"),
        ({"name": "red"}, scores("red", 0.21), "tested"),
        ({"name": "red"}, scores("red", 0.19), "not told from chance"),
        ({"name": "red"}, scores("red", 0.21, borrowed_ap=0.3), "not told from chance"),
        ({"name": "red"}, scores("red", 0.21, base_rate=0.3), "not told from chance"),
        ({"name": "red"}, scores("red", 0.21, frequent_ap=0.6), "not told from chance"),
        ({"name": "red"}, scores("blue", 0.9), "untested"),
        ({"name": "red", "method": "person"}, scores("red", 0.9), "by a person"),
        ({"status": "no clear concept"}, {}, "none found"),
        ({"status": "unnamed", "details": {"problem": "empty"}}, {}, "none found"),
    ],
)
def test_each_name_has_one_state(record, score, state, atlas_copy):
    address = {key: atlas_copy.table("channels")[key][0].as_py() for key in ("layer", "channel")}
    if record is not None:
        whole = {"method": "vlm", "by": "m", "status": "named", **record}
        names.append(atlas_copy, [NameRecord(**address, **whole)], 0)
    names.write_columns(atlas_copy, "vlm")
    count = atlas_copy.rows("channels")
    atlas_copy.extend_table(
        "channels",
        {column: [score.get(column)] + [None] * (count - 1) for column in TESTED},
    )
    standing.write_columns(atlas_copy, "vlm")
    row = atlas_copy.table("channels").to_pylist()[0]
    assert row["name_state"] == state
    assert state is None or state in STATES
    assert standing.state_of(row) == state
    # What was tested under another name is no score of this one.
    kept = score.get("score_name") == row["name"] is not None
    assert row["score_ap"] == (0.5 if kept else None)
    tried = {"no clear concept": "nothing in common", "unnamed": "could not be used: empty"}
    said = tried.get((record or {}).get("status"), "")
    assert said in (row["name_tried"] or "")
    assert bool(row["name_tried"]) == (state == "none found")


def test_names_of_older_atlases_have_a_state_too():
    assert standing.state_of({"name": "red", "named_by": "vlm"}) == "untested"
    assert standing.state_of({"name": "red", "named_by": "person"}) == "by a person"
    assert standing.state_of({"name": None, "name_status": "unnamed"}) == "none found"
    assert standing.state_of({"name": None, "name_status": None}) is None
