"""Which class somebody means."""

import pytest

from atlas import classes
from atlas.errors import UserError

NUMBERS = ["1", "10", "2"]


@pytest.mark.parametrize(
    ("asked", "label"), [("1", 0), ("10", 1), ("2", 2), ("0", 0), (":0", 0), (":1", 1), (":2", 2)]
)
def test_names_come_before_numbers(asked, label):
    assert classes.find(asked, NUMBERS) == label


def test_a_name_that_is_another_number_is_reported(capsys):
    assert classes.find("1", NUMBERS) == 0
    assert "'1' is taken for the class of this name, number 0; number 1 ('10') is ':1'" in (
        capsys.readouterr().err
    )
    for asked in ("10", ":1", "0"):
        classes.find(asked, NUMBERS)
    assert capsys.readouterr().err == ""


def test_two_classes_of_one_name_are_reported_apart_by_number():
    names = ["crane", "Crane", "crane", "tench"]
    with pytest.raises(UserError, match=r"'crane': give one of :0 \('crane'\), :2 \('crane'\)"):
        classes.find("crane", names)
    assert classes.find("Crane", names) == 1  # the one that is written so
    with pytest.raises(UserError, match=r":0 .* :1 .* :2"):
        classes.find("CRANE", names)
    assert [classes.find(f":{n}", names) for n in range(4)] == [0, 1, 2, 3]
    assert classes.find(" Tench ", names) == classes.find("3", names) == 3


@pytest.mark.parametrize("asked", ["4", ":4", "tensh", "", ":", "-1", "²", "99999999999999999999"])
def test_what_is_none_names_the_nearest(asked):
    with pytest.raises(UserError, match=r"no class .*: the nearest are .*from :0 to :3") as caught:
        classes.find(asked, ["crane", "kite", "eel", "tench"])
    assert "\n" not in str(caught.value)
