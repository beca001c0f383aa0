"""HTML for notebooks: complete, escaped, and without anything from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ilk
from ilk.core.leaderboard import CandidateResult
from ilk.core.metrics import Interval, Scores
from ilk.report.notebook import LeaderboardView, render_classifier, render_prediction

EVIL = '<script>alert("x")</script>\x1b[31m\u202e'
VOID = {"img", "br"}


class Checker(HTMLParser):
    """Collects text and attributes, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.tags, self.values = "", set(), []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.values += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    assert not checker.tags & {"script", "style", "link", "iframe", "html", "body"}
    for _, name, value in checker.values:
        assert not name.startswith("on")
        assert name != "src" or value.startswith("data:image/")
        assert "url(" not in value
        assert "http" not in value
        if name == "style":  # a dark notebook keeps its own colours
            assert "color:inherit" in value or not re.search(r"(^|;)color:", value)
            assert not re.search(r"background:(?!transparent|rgba?\()", value)
    assert not set("\x1b\u202e") & set(checker.text)
    html.encode("utf-8")
    return checker


def show(**changes: Any) -> Checker:
    values: dict[str, Any] = {
        "path": "none/a.png",
        "name": "cat",
        "probability": 0.931,
        "prediction_set": ("cat", "dog"),
        "is_unknown": False,
        "error": "",
        "content": None,
        **changes,
    }
    return parse(render_prediction(**values))


def test_a_prediction_shows_name_bar_and_set():
    shown = show()
    assert "cat" in shown.text
    assert "93.1" in shown.text
    assert "none/a.png" in shown.text
    assert re.search(r"set:\s+cat,\s*dog", shown.text)
    assert "unknown" not in shown.text
    assert "img" not in shown.tags
    assert any("width:93.1%" in value for _, _, value in shown.values)
    assert "unknown: unlike the images" in show(is_unknown=True).text
    assert "empty, no name is certain enough" in show(prediction_set=()).text


def test_a_prediction_without_an_answer_shows_the_reason():
    shown = show(name="", probability=float("nan"), prediction_set=(), error="empty: 0 bytes")
    assert "no prediction" in shown.text
    assert "empty: 0 bytes" in shown.text
    assert "%" not in shown.text
    assert "nan" not in shown.text


def test_the_picture_is_that_of_the_file_or_of_the_image_in_memory(tmp_path):
    red = Image.new("RGB", (9, 9), "red")
    red.save(tmp_path / "a.png")
    by_file = show(path=str(tmp_path / "a.png"))
    by_array = show(path="image", content=np.asarray(red))
    (source,) = {value for _, name, value in by_file.values if name == "src"}
    assert ("img", "src", source) in by_array.values


@pytest.mark.parametrize("field", ["path", "name", "error", "prediction_set"])
def test_names_are_escaped(field):
    shown = show(**{field: (EVIL,) if field == "prediction_set" else EVIL})
    assert "<script>" in shown.text
    assert "\\x1b" in shown.text


def make_results(n: int) -> tuple[CandidateResult, ...]:
    scores = [Scores(9, Interval(0.9 - i / 100, 0.5, 1), 0.9, 0.1, 0.02) for i in range(n)]
    return (
        *(CandidateResult(f"hog/{i}", "GDA()", s, 1.0) for i, s in enumerate(scores)),
        CandidateResult("hog", f"Ridge({EVIL})", None, 0.0, f"too few rows {EVIL}"),
    )


def test_a_leaderboard_shows_every_candidate_and_marks_the_winner():
    view = LeaderboardView(make_results(3), ("hog/0", "GDA()"))
    shown = parse(view._repr_html_())
    for text in ("hog/0", "hog/2", "90.0", "50.0 to 100.0", "selected", "too few rows"):
        assert text in shown.text
    assert shown.text.count("selected") == 1
    assert len(view) == 4
    assert [r.encoder for r in view][:2] == ["hog/0", "hog/1"]
    lines = str(view).split("\n")
    assert len(lines) == 5
    assert "\x1b" not in str(view)
    assert lines[1].endswith("selected")
    assert "too few rows" in lines[4]


def test_a_long_leaderboard_and_many_classes_are_cut_with_their_number():
    view = LeaderboardView(make_results(29), ("hog/0", "GDA()"))
    assert "10 more rows not shown" in parse(view._repr_html_()).text
    names = [f"class-{i}" for i in range(25)]
    shown = parse(render_classifier(names, "hog", "GDA()", [], view))
    assert "Classifier of 25 classes" in shown.text
    assert "15 more classes" in shown.text


def test_a_classifier_shows_classes_method_accuracy_and_leaderboard():
    rates = [("Accuracy on the test split", Interval(0.8, 0.7, 0.9))]
    view = LeaderboardView(make_results(1), ("hog/0", "GDA()"))
    shown = parse(render_classifier([EVIL, "dog"], "hog", "GDA()", rates, view))
    for text in ("dog", "GDA()", "80.0", "70.0 to 90.0", "Leaderboard", "Accuracy on the test"):
        assert text in shown.text
    bare = parse(render_classifier(["a", "b"], "hog", "GDA()", [], None))
    assert "Leaderboard" not in bare.text


def test_a_fitted_classifier_and_its_predictions_show_themselves(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    noise[20:] //= 8
    labels = ["day<b>"] * 20 + ["night"] * 20
    classifier = ilk.fit(noise, labels=labels, encoders="pixels", methods="GDA", folds=3)
    shown = parse(classifier._repr_html_())
    assert "day<b>" in shown.text
    assert "pixels/16x16x3" in shown.text
    assert "selected" in shown.text
    assert "corrected for the selection" in shown.text
    assert "day<b>, night" in repr(classifier)
    assert "out of fold" in repr(classifier)
    single = classifier.predict(noise[0])
    assert "img" in parse(single._repr_html_()).tags
    assert single == classifier.predict(noise[0])
    assert "array" not in repr(single)
    assert "img" not in parse(classifier.predict(noise)[0]._repr_html_()).tags
    assert parse(classifier.leaderboard._repr_html_()).text.count("GDA()") == 1
