"""Names of outputs as people keep them."""

import json

import pytest

from atlas.errors import UserError
from atlas.model import classes

INSECTS = ("ant", "bee", "Äffchen")
WITH_IDS = ("n01440764 tench", "n01443537 goldfish, Carassius auratus")


def read(tmp_path, text):
    file = tmp_path / "names"
    file.write_text(text, "utf-8")
    return classes.read(str(file))


@pytest.mark.parametrize(
    "text",
    [
        "ant\n\n  bee \r\nÄffchen\n",
        "\ufeffant\nbee\nÄffchen",
        json.dumps(INSECTS),
        json.dumps({"0": "ant", "2": "Äffchen", "1": "bee"}),
        json.dumps({"ant": 0, "Äffchen": 2, "bee": 1}),
        "{0: 'ant',\n 1: 'bee',\n 2: 'Äffchen'}",
        "['ant', 'bee', 'Äffchen']",
        "('ant', 'bee', 'Äffchen')",
        "0,ant\n1,bee\n2,Äffchen\n",
        '1,"bee"\n0,ant\n2,Äffchen\n',
        "ant,0\nÄffchen,2\nbee,1",
        "0: ant\n1: bee\n2: Äffchen",
        "0 ant\n1 bee\n2\tÄffchen",
    ],
)
def test_names_in_every_form(tmp_path, text):
    assert read(tmp_path, text) == INSECTS


@pytest.mark.parametrize(
    "text",
    [
        "n01440764 tench\nn01443537 goldfish, Carassius auratus\n",
        "n01440764,tench\nn01443537\tgoldfish, Carassius auratus\n",
        '0,n01440764,tench\n1,n01443537,"goldfish, Carassius auratus"\n',
        json.dumps({"0": ["n01440764", "tench"], "1": WITH_IDS[1].split(" ", 1)}),
        json.dumps([["n01440764", "tench"], WITH_IDS[1].split(" ", 1)]),
    ],
)
def test_wordnet_ids_stay_beside_the_names(tmp_path, text):
    """They keep ImageNet's two cranes apart."""
    assert read(tmp_path, text) == WITH_IDS


@pytest.mark.parametrize(
    "text",
    [
        "7 up\ncola\nmilk",
        "0\n1\n2",
        "tench, Tinca tinca\ngoldfish, 3 inches\nray",
        "route 1\nroute 66",
    ],
)
def test_names_with_numbers_and_commas_are_names(tmp_path, text):
    assert read(tmp_path, text) == tuple(text.splitlines())


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("0,ant\n1,bee\nwasp\n3,fly", "line 3 (wasp) is not as the others, NUMBER,NAME"),
        ("id,name\n0,ant\n1,bee", "line 1 (id,name) is not as the others"),
        ("0,ant\n1,bee\n1,fly", "line 3 has the number 1 again"),
        ("1,ant\n2,bee\n3,fly", "output 0 has no name, and they are counted from 0"),
        ("0,ant\n1,bee\n5,fly", "output 2 has no name"),
        ("n01440764 tench\nn01443537 goldfish\nray", "line 3 (ray) is not as the others"),
        ('["ant", 3]', "entry 1 (3) is no name"),
        ('["ant", ""]', "entry 1 () is no name"),
        ('{"0": "ant", "x": "bee"}', "'x' is no number"),
        ('{"0": "ant", "0": "bee"}', "'0' stands there twice"),
        ('{"ant": 0, "bee": 0}', "output 0 has two names"),
        ('["a", ', "is not JSON"),
        ("{0: print('ant')}", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("{0: " * 3_000, "is not JSON"),
    ],
)
def test_what_does_not_fit_is_reported_with_its_place(tmp_path, text, reported):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert reported in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_files_that_cannot_be_names_are_reported(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        classes.read(str(tmp_path / "no.txt"))
    (tmp_path / "names").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        classes.read(str(tmp_path / "names"))
    with pytest.raises(UserError, match="bytes"):
        read(tmp_path, "a" * (classes.LARGEST + 1))
