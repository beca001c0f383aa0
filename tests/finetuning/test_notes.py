"""What `ilk finetune` says of its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ilk.cli import finetune as command
from ilk.finetuning.judge import Answers
from ilk.finetuning.notes import describe_result
from ilk.finetuning.result import Candidate, FinetuneResult, compare_candidates

BASE = SimpleNamespace(name="net", preprocess=SimpleNamespace(size=(16, 16)))


def make_answers(level, right=0.9, n=40):
    rng = np.random.default_rng(0)
    return Answers(rng.random(n) < right, level - rng.uniform(0, 0.1, n))


def make_result(gain=0.5, n_held_out=40, **fields):
    frozen = Candidate("frozen", make_answers(-1.0), make_answers(-1.0))
    tuned = Candidate(
        "last block", make_answers(gain - 1), make_answers(gain - 1), 1234, 6.4, 3 * 2**20,
    )  # fmt: skip
    other = replace(tuned, name="all blocks", validation=make_answers(-2.0), note="it stopped")
    candidates = (frozen, tuned, other)
    groups = np.full(40, -1)
    made = FinetuneResult(
        Path("out"), True, True, candidates, 1, 1,
        compare_candidates(tuned, frozen, groups), groups, 100, 25, n_held_out, 7.0,
    )  # fmt: skip
    return replace(made, **fields)


def describe(result, sides=(20,) * 5, n_unlabelled=0, force=False):
    rows = [SimpleNamespace(width=side, height=2 * side) for side in sides]
    division = SimpleNamespace(rows=rows, n_unlabelled=n_unlabelled)
    return describe_result(result, BASE, division, force)


def test_the_verdict_comes_first_with_gain_and_cost():
    first, *others = describe(make_result(n_held_out=50))
    assert first.startswith("tuning paid: +0.0 points of accuracy on 40 images held out")
    assert "-0.500 in log loss" in first
    assert "it took 6 s, trained 1,234 parameters and needed 3 MB for that" in first
    assert others == ["all blocks: it stopped"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"chosen": 0, "is_written": False}, "no tuned network had a clearly lower log loss on th"),
        ({"chosen": 0, "is_written": False}, "use --encoder net, or pass --force"),
        ({"chosen": 1, "is_written": False}, "(no significant gain)"),
        ({"chosen": 1, "is_written": True}, "written because of --force"),
    ],
)
def test_why_nothing_was_written(fields, words):
    first = describe(make_result(is_better=False, **fields))[0]
    assert first.startswith("tuning did not pay")
    assert words in first


def test_what_else_a_user_should_know():
    [*_, few] = describe(make_result(n_held_out=49))
    assert few.startswith("49 images were held out, and ilk fit needs 50")
    assert not any("held out, and" in note for note in describe(make_result(n_held_out=50)))
    [*_, none] = describe(make_result(n_held_out=0))
    assert none.startswith("no image was held out, so the gain was measured on the images that cho")
    [*_, small] = describe(make_result(n_held_out=50), sides=(3, 7, 7, 7, 90))
    assert small.startswith("most images are smaller than the 16 x 16 pixels")
    assert "median side is 7" in small
    assert len(describe(make_result(n_held_out=50), sides=(8,) * 5)) == 2
    assert describe(make_result(), n_unlabelled=1)[-1] == "1 image has no label and was not used"
    last = describe(make_result(), n_unlabelled=1200)[-1]
    assert last == "1,200 images have no label and were not used"


def test_plain_values_name_the_parts_and_the_signs():
    result = make_result().to_json()
    assert (result["images"], result["validation"], result["held_out"]) == (100, 25, 40)
    assert (result["chosen"], result["kept"], result["network"]) == ("last block", True, "out")
    frozen, tuned, _ = result["candidates"]
    assert frozen["validation_log_loss"] > tuned["validation_log_loss"] > 0
    assert frozen["log_loss"] > tuned["log_loss"] > 0
    assert result["gain"]["log_probability"]["value"] == pytest.approx(0.5)
    assert result["gain"]["images"] == 40


def test_the_star_marks_the_choice_of_the_validation_part(capsys):
    command._show_candidates(make_result(chosen=0))
    lines = capsys.readouterr().out.splitlines()
    [marked] = [
        line
        for line in lines
        if line.strip().startswith(("frozen", "last block")) and " * " in line
    ]
    assert "frozen *" in marked
    assert "100 images for training, 25 for validation, 40 held out" in " ".join(lines)
