"""Superclasses: WordNet's, and those of files as people write them, right and wrong."""

import graphlib
import json
from importlib import resources, util
from pathlib import Path

import pytest

from atlas.data import imagenet
from atlas.data.hierarchy import superclasses
from atlas.errors import UserError

CLASSES = ["pug", "Beagle", "tabby", "n03594945 jeep, landrover"]


def wordnet():
    text = resources.files("atlas.data").joinpath("wordnet.tsv").read_text("utf-8")
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def test_the_file_of_wordnet_is_one_tree_above_all_classes():
    rows = wordnet()
    parents = {node: above.split() for node, above, _ in rows}
    assert len(parents) == len(rows)
    order = list(graphlib.TopologicalSorter(parents).static_order())  # no circle
    assert set(order) == set(parents)  # nothing above that is not there
    assert [node for node, above in parents.items() if not above] == ["n00001740"]
    above_some = {parent for above in parents.values() for parent in above}
    assert set(parents) - above_some == set(imagenet.ids())
    names = [name for _, _, name in rows if name]
    assert len(names) == len(set(names)) == len(rows) - 1000
    assert not {name.casefold() for name in names} & {
        name.casefold() for name in imagenet.names().values()
    }


def test_the_licence_of_wordnet_is_in_its_file():
    text = resources.files("atlas.data").joinpath("wordnet.tsv").read_text("utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved." in text
    assert "the same appear on ALL copies" in text


def test_the_names_of_wordnet_are_those_that_timm_has():
    place = util.find_spec("timm")
    if place is None:
        pytest.skip("timm is not installed")
    file = Path(place.origin).parent / "data/_info/imagenet_synset_to_lemma.txt"
    lemmas = dict(line.split("\t") for line in file.read_text("utf-8").splitlines())
    compared = [(name, lemmas[node]) for node, _, name in wordnet() if name and node in lemmas]
    assert len(compared) > 300
    assert all(name.partition(" (")[0] in theirs.split(", ") for name, theirs in compared)


def test_the_superclasses_of_imagenet():
    names = list(imagenet.names().values())
    found = superclasses("", names)
    assert len(found.classes) == 860
    assert found.remark == "860 superclasses of 1000 of 1000 classes, from WordNet"
    # By their places, as everybody knows them.
    assert found.classes["dog"] == set(range(151, 269))
    assert found.classes["bird"] == {*range(7, 25), *range(80, 101), *range(127, 147)}
    assert found.classes["dog"] < found.classes["canine"] < found.classes["animal"]
    assert len(found.classes["entity"]) == 1000
    assert names.index("crane") in found.classes["artifact"]
    assert names.index("crane bird") in found.classes["bird"]


def test_some_classes_of_imagenet_and_none():
    found = superclasses("", ["n02110958_pug", "my own thing", "n03594945"])
    assert found.classes["dog"] == {0}
    assert found.classes["motor vehicle"] == {2}
    assert found.remark.endswith("superclasses of 2 of 3 classes, from WordNet")
    assert superclasses("", ["red", "blue"]).classes == {}
    assert superclasses("", ["red", "blue"]).remark == ""


EXPECTED = {
    "dog": {0, 1}, "animal": {0, 1, 2}, "vehicle": {3}, "thing": {0, 1, 2, 3},
}  # fmt: skip
TABLE = """child,parent
pug,dog
beagle,dog
dog,animal
tabby,animal

"jeep, landrover",vehicle
animal,thing
vehicle,thing
"""


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace('"', "").replace("jeep, landrover", "n03594945"),
        TABLE.replace('"jeep, landrover"', "n03594945").replace(",", "\t"),
        json.dumps(
            {
                "thing": {
                    "animal": [{"dog": ["pug", "beagle"]}, "tabby"],
                    "vehicle": {"jeep, landrover": None},
                }
            }
        ),
        '{"thing": {"animal": {"dog": {"pug": {}, "beagle": []}, "tabby": ""}, '
        '"vehicle": ["N03594945 jeep, landrover"]}}'.replace("N0", "n0"),
    ],
)
def test_files(tmp_path, text):
    file = tmp_path / "hierarchy"
    file.write_text(text)
    found = superclasses(str(file), CLASSES)
    assert found.classes == EXPECTED
    assert found.remark == "4 superclasses of 4 of 4 classes"


def test_several_parents_a_class_above_others_and_classes_that_are_not_in_it(tmp_path):
    file = tmp_path / "hierarchy.csv"
    file.write_text("pug,dog\npug,pet\ntabby,pet\nbeagle,dog\n")
    found = superclasses(str(file), ["dog", "pug", "beagle", "tabby", "jeep"])
    assert found.classes == {"dog": {0, 1, 2}, "pet": {1, 3}}
    assert found.remark == "2 superclasses of 4 of 5 classes; not in it: 'jeep'"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pug,dog\ndog,pet\npet,dog\n", "goes round in a circle: dog -> pet -> dog"),
        ("pug,pug\n", "goes round in a circle: pug -> pug"),
        ("pug,dog\nmoose,deer\n", "a name is no class of the atlas, with none below: 'moose'"),
        ("pug,dog\nbeagle,dog\npug,dog\n", "has 'pug' twice below 'dog'"),
        ("pug,dog,animal\n", "expected two columns, child and parent, and not 'pug,dog,animal'"),
        ("pug,\n", "expected two columns"),
        ("", "has no classes"),
        ("child,parent\n", "has no classes"),
        ("{", "is not JSON"),
        ('["pug"]', "expected a tree of objects and lists"),
        ('{"dog": 3}', "and not 3"),
        ('{"dog": ["pug", 3]}', 'and not ["pug", 3]'),
        ('{"dog": ["pug", "pug"]}', "has 'pug' twice below 'dog'"),
        ('{"a": {"x": ["pug"]}, "b": {"x": ["tabby"]}}', "has 'x' with names below it twice"),
        ('{"dog": ["pug"], "dog": ["beagle"]}', "has 'dog' with names below it twice"),
        ('{"dog": {"pug": {"dog": ["beagle"]}}}', "twice"),
        ('{"a":' * 100_000, "is not JSON"),
        ("twin,dog\n", "2 classes are named 'twin'"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, says):
    file = tmp_path / "hierarchy"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        superclasses(str(file), [*CLASSES, "twin", "twin"])
    assert says in str(caught.value)
    assert str(caught.value).startswith("data.hierarchy = ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there():
    with pytest.raises(UserError, match="cannot be read"):
        superclasses("no/such/file.json", CLASSES)
