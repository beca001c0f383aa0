"""The robustness benchmark in a short form: its parts run here, and what must be 0 is 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness import mutations, run, situations
from benchmarks.robustness.folder_content import describe_difference, read_content
from benchmarks.robustness.hostile_files import measure_hostile_files
from benchmarks.robustness.saved_things import make_saved_things
from benchmarks.robustness.store_damage import attack_store
from benchmarks.robustness.tampered_commands import attack_commands
from benchmarks.robustness.tampering import attack


def test_every_hostile_file_is_one_row_and_all_commands_agree(tmp_path: Path) -> None:
    figures = measure_hostile_files(tmp_path, 150)
    assert figures["files"] == figures["rows"] > 250
    assert figures["disagreements"] == figures["tracebacks"] == 0, figures["examples"]


def test_no_mutation_of_a_saved_model_or_of_the_store_is_accepted(tmp_path: Path) -> None:
    things = make_saved_things(tmp_path / "one")
    for thing in things:
        tally = attack(thing, tmp_path / "other", tmp_path / "mutated", 25)
        assert sum(tally.endings.values()) > 100
        assert not tally.failures
        assert tally.endings["refused"] > 60
    tally = attack_store(things[0].folder, tmp_path / "stores", 25)
    assert not tally.failures
    assert tally.endings["refused"] > 5
    assert tally.endings["same"] > 5
    commands = attack_commands(things[0], tmp_path / "commands", 36, 0)
    assert commands["tracebacks"] == 0, commands["failures"]


def test_damage_differs_from_the_content_and_edits_from_what_was_there() -> None:
    rng = np.random.default_rng(0)
    content = bytes(range(256)) * 8
    assert all(mutations.damage(content, rng)[1] != content for _ in range(200))
    value = {"a": [1, {"b": 2}]}
    assert list(mutations.list_places(value)) == [
        ("a",),
        ("a", 0),
        ("a", 1),
        ("a", 1, "b"),
    ]
    assert mutations.edit(value, ("a", 1, "b"), 7) == {"a": [1, {"b": 7}]}
    assert mutations.edit(value, ("a", 0), mutations.DELETED) == {"a": [{"b": 2}]}


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        (1, 2, False),
        (0.5, 2, False),
        (1, True, True),
        ("a", "b", False),
        ("a", 1, True),
        (1.0, float("nan"), True),
        (1, 2**60, True),
        ([], {}, True),
        (None, 1, True),
        ("a", mutations.DELETED, True),
    ],
)
def test_another_value_of_the_same_kind_is_no_damage(old: object, new: object, wrong: bool) -> None:
    assert mutations.is_wrong(old, new) is wrong


def test_content_is_equal_apart_from_times(tmp_path: Path) -> None:
    for name, seconds, date in (("a", 1.5, "2026-01-02"), ("b", 20, "2027-03-04")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(f'{{"seconds": {seconds}, "classes": ["x"]}}')
        (tmp_path / name / "report.html").write_text(f"<p>{date}: fitted in {seconds} s</p>")
    first, second = read_content(tmp_path / "a"), read_content(tmp_path / "b")
    assert describe_difference(first, second) == ""
    (tmp_path / "b" / "model.json").write_text('{"classes": ["y"]}')
    (tmp_path / "b" / "more.csv").write_text("1")
    difference = describe_difference(read_content(tmp_path / "b"), first)
    assert difference == "too many: more.csv; different: model.json"


def test_a_missed_bar_is_named() -> None:
    right = {
        "hostile files": dict.fromkeys(
            ("files without a row", "rows without a file", "disagreements", "tracebacks"), 0
        ),
        "tampering": [{"saved": "classifier", "accepted": 0, "tracebacks": 0}],
        "tampered commands": {"tracebacks": 0},
        "kills": [{"command": "fit", "kills": 3, "equal after repeating": 3, "tracebacks": 0}],
        "two writers": [{"commands": "fit, fit", "rounds": 2, "intact": 2, "tracebacks": 0}],
        "bombs": {"runs": [{"command": "fit", "threads": 2, "peak MiB": 9, "within": True}]},
        "situations": [{"part": "p", "situation": "s", "right": True, "problem": ""}],
    }
    assert run.list_missed(right) == []
    wrong = right | {"tampering": [{"saved": "classifier", "accepted": 1, "tracebacks": 0}]}
    assert run.list_missed(wrong) == ["classifier: 1 accepted"]
    wrong = right | {"situations": [right["situations"][0] | {"right": False}]}
    assert len(run.list_missed(wrong)) == 1


def test_every_situation_is_told_apart() -> None:
    found = situations.list_situations()
    assert len(found) > 100
    assert len({(s.part, s.what) for s in found}) == len(found)
