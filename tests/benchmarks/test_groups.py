"""The benchmark of groups runs small: folds over images deceive, folds over patients do not."""

import json

from benchmarks.groups import run as groups
from benchmarks.groups.world import draw_clinic


def test_small_shows_what_folds_over_images_claim(monkeypatch):
    monkeypatch.setattr(groups, "NEW_PATIENTS", 60)
    result = json.loads(json.dumps(groups.run(small=True)))
    rows = {row["folds"]: row for row in result["rows"]}
    apart, together = rows[groups.IMAGES], rows[groups.GROUPED]
    assert apart["accuracy"]["mean"] > 0.9 > 0.7 > apart["accuracy on new patients"]["mean"]
    assert apart["interval contains it"]["rate"] == 0
    assert together["accuracy"]["mean"] < 0.75
    assert together["width of the interval"]["mean"] > 5 * apart["width of the interval"]["mean"]
    assert together["coverage on new patients"]["mean"] > 0.8
    assert apart["accuracy that the report states"]["mean"] < 0.75  # clusters were found
    assert apart["coverage on new patients"]["mean"] > 0.8
    assert rows["scikit-learn, StratifiedKFold"]["accuracy"]["mean"] > 0.7


def test_clinics_share_no_patient_and_shots_are_near_identical():
    one, other = draw_clinic(5, 3, "signal", 0), draw_clinic(5, 3, "signal", 1)
    assert not set(one.patients) & set(other.patients)
    first, second = one.images[0].astype(int), one.images[1].astype(int)
    assert 0 < abs(first - second).max() <= 12
    assert len(set(one.labels[:3])) == 1
