"""Cells that a spreadsheet would run, and several names in one cell, are written and read back."""

from __future__ import annotations

import csv
import io

import pytest

from ilk.core.csv_cells import CsvFormatter, describe_formulas, is_formula, unprotect, writing_csv
from ilk.core.name_lists import join_names, split_names

FORMULAS = ["=1+1", "+cmd", "-dir/a.png", "@SUM(A1)", "\tx", "\rx", "=", "-", "+1 cat"]
PLAIN = ["", "cat", "a=b", "-1.5", "+3", "-1e-7", "1-2", " =x", "café", "-inf", "'cat", "'"]
ODD = ["'=x", "''=x", "'-1", "'@"]


@pytest.mark.parametrize("cell", FORMULAS + PLAIN + ODD)
@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_every_cell_can_be_read_back(cell, safe, delimiter):
    with writing_csv(safe) as writing:
        line = CsvFormatter(delimiter).format(["a", cell, 1.5])
    [[_, written, _]] = csv.reader(io.StringIO(line, newline=""), delimiter=delimiter)
    assert unprotect(written) == cell
    assert is_formula(cell) == (cell in FORMULAS)
    assert writing.n_formulas == (cell in FORMULAS and not safe)
    assert not (safe and is_formula(written))
    if cell in PLAIN:
        assert written == cell  # on or off, nothing else changes


def test_what_is_written_as_it_is_is_said():
    assert describe_formulas(0) == ""
    assert describe_formulas(1).startswith("1 cell of the table would run as a formula")
    assert "--csv-safe" in describe_formulas(1200)
    assert CsvFormatter().format(["=x"]) == "=x\n"  # without a command, as in Python


@pytest.mark.parametrize("separator", ["|", "; ", ","])
@pytest.mark.parametrize(
    "names",
    [
        [],
        ["cat"],
        ["cat", "dog"],
        ["a|b", "a", "b"],
        ["a; b", "c;d"],
        ["a,b"],
        ["[x]", "y"],
        ["[x"],
        ['"', "\\", "ä\n"],
        [" a", "b "],
        ["|"],
    ],
)
def test_every_list_of_names_can_be_read_back(names, separator):
    assert split_names(join_names(names, separator), separator) == names


def test_plain_names_are_joined_as_before():
    assert join_names(["cat", "dog"], "|") == "cat|dog"
    assert split_names("[no json|x", "|") == ["[no json", "x"]
