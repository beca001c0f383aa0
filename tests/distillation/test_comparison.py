"""The student beside the same student on labels alone, in words."""

import numpy as np
import pytest

from ilk.distillation.comparison import LABELS_ALONE, STUDENT, describe_difference


def make_probabilities(right):
    return np.where(np.asarray(right, bool)[:, None], [[0.9, 0.1]], [[0.1, 0.9]])


def describe(ours, theirs, groups=None):
    rows = {STUDENT: make_probabilities(ours), LABELS_ALONE: make_probabilities(theirs)}
    return describe_difference(rows, np.zeros(len(ours), np.int64), groups)


def test_the_difference_is_the_student_minus_the_other():
    better, worse = [1] * 100, [1] * 70 + [0] * 30
    assert "the teacher helps" in describe(better, worse)
    assert "+30.00 points" in describe(better, worse)
    assert "the teacher hurts" in describe(worse, better)
    assert "no significant difference" in describe(better, better)


def test_the_interval_is_that_of_paired_images_in_groups():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(60) < 0.9, rng.random(60) < 0.7
    difference = ours.astype(float) - theirs
    half = 1.96 * difference.std(ddof=1) / np.sqrt(60)
    low, high = 100 * (difference.mean() - half), 100 * (difference.mean() + half)
    assert f"{low:+.2f} to {high:+.2f}" in describe(ours, theirs)
    tenfold = (np.repeat(ours, 10), np.repeat(theirs, 10))
    copied = describe(*tenfold, np.repeat(np.arange(60), 10))
    half *= 2.000995 / 1.96  # of 60 groups: Student's t, 59 degrees of freedom
    low, high = 100 * (difference.mean() - half), 100 * (difference.mean() + half)
    assert f"{low:+.2f} to {high:+.2f}" in copied
    assert copied != describe(*tenfold)
    assert describe(*tenfold) == pytest.approx(describe(*tenfold, np.full(600, -1)))
