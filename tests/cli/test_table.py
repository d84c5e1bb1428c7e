"""Tables of the command line can be read in 80 columns, whatever layers are called."""

import pytest

from atlas.cli.table import NARROWEST, TableColumn, fitted, print_table

LAYER = "stages.2.blocks.14.branches.conv_expand/nmf25"
NAMES = ("names", "AP", "F1", "Pearson", "borrowed", "frequent", "base rate", "tested", "clarity")
NUMBERS = ("1234", "0.54", "0.63", "0.56", "-0.19", "0.22", "0.14", "100%", "0.90")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_every_number_and_every_letter_of_a_layer_is_printed(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    columns = [TableColumn("layer", "address"), *(TableColumn(one, "number") for one in NAMES)]
    print_table(columns, [[LAYER, *NUMBERS], ["all", *NUMBERS]], "Names", total=True)
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if "1234" in line]
    assert [row[1:] for row in rows] == [[*NUMBERS]] * 2
    after = lines[next(n for n, line in enumerate(lines) if "1234" in line) :]
    column = len(rows[0][0])
    assert LAYER.startswith(rows[0][0])
    assert "".join(line[:column].strip() for line in after).startswith(LAYER)
    assert max(map(len, lines)) <= max(width, 72)


def test_numbers_may_have_two_lines_and_texts_from_outside_may_not(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    columns = [TableColumn("map\n↑", "number"), TableColumn("class"), TableColumn("none")]
    print_table(columns, [["0.927\n.89–.94", "red\nstar\x1b[31m", ""]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == [["map"], ["↑", "class"]]
    assert lines[3][:3] == ["0.927", "red", "star"]
    assert lines[4:] == [[".89–.94"]]


def test_texts_become_narrow_before_addresses_and_numbers_never():
    kinds = ["address", "text", "text", "number"]
    assert fitted([20, 30, 12, 5], kinds, 67) == [20, 30, 12, 5]
    assert fitted([20, 30, 12, 5], kinds, 55) == [20, 18, 12, 5]
    assert fitted([20, 30, 12, 5], kinds, 37) == [16, 8, 8, 5]
    assert fitted([20, 30, 12, 5], kinds, 10) == [NARROWEST["address"], 8, 8, 5]
