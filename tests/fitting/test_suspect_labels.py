"""What is told of labels that disagree with predictions: how weak these are, and where to look."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import ilk
from helpers.digit_folders import write_digits
from ilk.cli import run
from ilk.fitting.suspect_labels import MAX_FIRST, describe_suspects, find_suspects
from ilk.store import Store


def make_world(n, k, accuracy, seed=0):
    """Labels, and confident predictions that are right for a fraction of them."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    answer = np.where(rng.random(n) < accuracy, y, (y + 1 + rng.integers(k - 1, size=n)) % k)
    p = np.full((n, k), 0.1 / (k - 1))
    p[np.arange(n), answer] = 0.9
    return y, p


def tell(y, p):
    return describe_suspects(find_suspects(p, y), p, y, "suspects.csv")


def test_of_a_weak_classifier_it_says_that_it_is_weak_and_names_a_few_to_look_at():
    y, p = make_world(160, 8, 0.5)
    agreement = np.mean(p.argmax(1) == y)
    text = tell(y, p)
    n_suspects = int(find_suspects(p, y).is_suspect.sum())
    assert n_suspects > 60
    assert text.startswith(f"{n_suspects} of 160 labels clearly disagree")
    assert f"agree with {agreement:.1%} of all labels" in text
    assert "may be their error" in text
    assert f"look at the first {MAX_FIRST} in suspects.csv before changing a label" in text
    assert "wrong" not in text


def test_where_few_disagree_it_names_no_more_than_there_are():
    y, p = make_world(100, 4, 1.0)
    assert tell(y, p) == ""
    p[3] = p[0]
    assert "1 of 100 labels" in tell(y, p)
    assert "look at the first in suspects.csv" in tell(y, p)
    p[7] = p[0]
    assert "look at the first 2 in suspects.csv" in tell(y, p)


def test_rows_without_predictions_are_not_counted():
    y, p = make_world(100, 4, 0.9)
    p[:20] = np.nan
    y[20] = -1
    agreement = np.mean(p[21:].argmax(1) == y[21:])
    assert " of 79 labels" in tell(y, p)
    assert f"{agreement:.1%}" in tell(y, p)


def test_a_constant_answer_suspects_no_label():
    y = np.array([0] * 30 + [1] * 10)
    p = np.tile([0.7, 0.3], (40, 1))
    p[30:35] = 0.9, 0.1  # more confident, and never right
    errors = find_suspects(p, y)
    assert not errors.is_suspect.any()
    assert tell(y, p) == ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, some of them in another folder."""
    home = tmp_path_factory.mktemp("digits")
    write_digits(home, {"zero 0": 20, "one 1": 20, "vier 4": 20})
    for name, other in (("zero 0", "one 1"), ("one 1", "vier 4"), ("vier 4", "zero 0")):
        files = [f for f in sorted((home / name).iterdir()) if "was" not in f.name][:2]
        for file in files:
            file.rename(home / other / f"was {name[:-2]} {file.name}")
    return home


def test_terminal_report_and_python_say_the_same(folder: Path, tmp_path: Path, capsys) -> None:
    model = tmp_path / "model"
    arguments = ["fit", str(folder), "--out", str(model), "--encoder", "pixels"]
    assert run([*arguments, "--method", "NearestClassMean", "--single"]) == 0
    pattern = r"\d+ of 60 labels clearly disagree with .* before changing a label"
    (told,) = re.findall(pattern, capsys.readouterr().out.replace("\n", " "))
    n = int(told.split()[0])
    suspects = (model / "suspects.csv").read_text().splitlines()[1:]
    assert sum(line.endswith(",true") for line in suspects) == n >= 4
    page = re.sub(r"<[^>]+>", "", (model / "report.html").read_text()).replace("\u202f%", "%")
    assert " ".join(page.split()).count(told) == 1
    lines: list[str] = []
    config = {"encoders": "pixels", "methods": ("NearestClassMean",), "single": True}
    ilk.fit(str(folder), store=Store(tmp_path / "s.sqlite"), log=lines.append, **config)
    assert told in lines


def test_the_audit_uses_the_same_words(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "list.csv"
    assert run(["audit", str(folder), "--out", str(out), "--encoder", "pixels"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"\d+ of 60 labels clearly disagree with .*look at the first \d+ in list.csv before",
        text,
    )
    assert "look wrong" not in text
