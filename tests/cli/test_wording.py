"""On the command line, options are named without the keywords of the Python functions."""

import pytest

from ilk.cli.output import print_table
from ilk.cli.wording import name_options


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--split-column none (split_column=) reads", "--split-column none reads"),
        ("--value-range LOW-HIGH (value_range=) sets", "--value-range LOW-HIGH sets"),
        ("--pages all (pages='all') makes", "--pages all makes"),
        ("with --multi-label (multi_label=True), so", "with --multi-label, so"),
        ("or with --no-multi-label (multi_label=False) if", "or with --no-multi-label if"),
        ("--class (classes=) are added", "--class are added"),
        ("with split_column= (--split-column), such as 'a'", "with --split-column, such as 'a'"),
        ("group_from (--group-from) is 'x'", "--group-from is 'x'"),
        ("with merge_spellings=True (--merge-spellings)", "with --merge-spellings"),
    ],
)
def test_the_keyword_is_dropped(text, shown):
    assert name_options(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "the whole images (--resize crop crops them)",
        "the first of 3 pages or frames (--pages all)",
        "the classes are ordered (--ordered) as numbers",
        "--method GDA (shrink=0.2) is another",
        "fit again with --group-from '^(p[0-9]+)_'",
        "a folder photos (a=1)",
    ],
)
def test_all_else_stays(text):
    assert name_options(text) == text


def test_names_that_begin_with_digits_are_no_numbers(capsys):
    print_table(("file", "count"), [("02.png", "5"), ("2023-05-01_a.png", "12")])
    first, second = capsys.readouterr().out.splitlines()[3:5]
    assert first.startswith((" 02.png ", "02.png "))
    assert first.rstrip().endswith(" 5")
    assert second.rstrip().endswith("12")
