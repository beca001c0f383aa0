"""The benchmark of distillation losses compares arms that differ in the loss alone."""

import pytest
import torch

from benchmarks.distillation_losses.run import run
from benchmarks.student_networks import shift
from ilk.core.errors import Unavailable


def test_a_shift_moves_each_picture_as_a_whole():
    x = torch.arange(2 * 25.0).reshape(2, 1, 5, 5) + 1
    moved = shift(x, 2, torch.Generator().manual_seed(1))
    for before, after in zip(x[:, 0], moved[:, 0], strict=True):
        found = [
            (i, j)
            for i in range(-2, 3)
            for j in range(-2, 3)
            if torch.equal(torch.roll(before, (i, j), (0, 1))[after > 0], after[after > 0])
            and int((after > 0).sum()) == (5 - abs(i)) * (5 - abs(j))
        ]
        assert len(found) == 1


def test_both_studies_report_every_arm():
    try:
        result = run(small=True)
    except Unavailable as error:
        pytest.skip(str(error))
    assert [len(table["scores"]) for table in result["tables"]] == [6, 6, 7]
    assert all(table["claims"] for table in result["tables"])
