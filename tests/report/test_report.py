"""The report is self-contained, well formed, correct, and robust to unusual input."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ilk.core.errors import OutputError
from ilk.core.leaderboard import CandidateResult
from ilk.core.metrics import Interval, Scores, score, wilson_interval
from ilk.images import Images, Row
from ilk.report import ReportData, leaderboard_to_json, render_report, write_report
from ilk.report.formatting import abbreviate, escape_text, format_file_name, format_percent_value
from ilk.report.metrics import EvaluationMetrics
from ilk.report.render import MAX_THUMBNAILS
from ilk.report.summary import build_summary

THIN = "\u202f"
VOID = {"meta", "link", "img", "br", "wbr", "line", "rect", "circle", "polyline"}


class Page(HTMLParser):
    """Collects tags, attributes and texts, and records end tags without a start tag."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: Counter[str] = Counter()
        self.texts: list[str] = []
        self.style = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif data.strip():
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def parse_rows(page: str, css: str) -> list[list[str]]:
    """Texts of the cells of the first table with class or caption id `css`."""
    table = next(t for t in re.findall(r"<table.*?</table>", page, re.S) if css in t)
    body = table.split("<tbody>")[1]
    rows = re.findall(r"<tr.*?</tr>", body, re.S)
    cells = [re.findall(r"<t[dh].*?</t[dh]>", row, re.S) for row in rows]
    return [[Page(c).text for c in row] for row in cells]


def make_scores(accuracy: float, n: int = 100) -> Scores:
    return Scores(n, wilson_interval(accuracy * n, n), accuracy - 0.01, 0.3, 0.02)


def make_report_data(folder: Path, n: int = 60, k: int = 3, **changes: Any) -> ReportData:
    """Report data of `n` images of `k` classes in `folder`; about 20 % are misclassified."""
    rng = np.random.default_rng(0)
    names = changes.pop("classes", tuple(f"kind-{c:04d}" for c in range(k)))
    y = rng.integers(0, k, n)
    p = rng.random((n, k)) + 0.02
    right = rng.random(n) < 0.8
    p[np.flatnonzero(right), y[right]] += 1.5
    p /= p.sum(1, keepdims=True)
    sets = p >= 0.25 * p.max(initial=0.1)
    rows = tuple(Row(f"{i % k}/{i:05d}.png", names[i % k], digest=f"{i:064x}") for i in range(n))
    is_covered = sets[np.arange(n), y]
    text: dict[str, Any] = {
        "command": "ilk fit 'my photos/' --seed 7",
        "task": "classify the photos",
        "version": "ilk 9.8.7, torch 2.13.0",
        "date": "2026-02-03 04:05 UTC",
        "seed": 7654321,
        "source": "my photos/",
        "classes": names,
        "class_counts": {"train": rng.integers(1, 99, k), "test": np.bincount(y, minlength=k)},
        "n_unlabelled": 17,
        "results": [
            CandidateResult("hog", "GDA(shrink=0.2)", make_scores(0.91), 1.5, is_tied=True),
            CandidateResult("pixels", "Ridge()", make_scores(0.90), 75.0, is_tied=True),
            CandidateResult("clip/tiny", "ZeroShot()", None, 0.0, "no names to read"),
        ],
        "encoder": "hog",
        "method": "GDA(shrink=0.2)",
        "corrected_accuracy": Interval(0.887, 0.861, 0.909),
        "folds_note": "5-fold cross-validation on the training part",
        "evaluated_on": "the test split, scored once",
        "y": y,
        "probabilities": p,
        "prediction_sets": sets,
        "target_coverage": 0.9,
        "is_unknown": rng.random(n) < 0.1,
        "paths": [folder / row.path for row in rows],
        "scores": score(y, p) if n else None,
        "coverage": wilson_interval(float(is_covered.sum()), n),
        "false_alarm": 0.05,
        "label_errors": [
            (folder / rows[i].path, names[0], names[1], 0.9) for i in range(min(n, 3))
        ],
        "unknown_examples": [(folder / rows[i].path, 41.5) for i in range(min(n, 2))],
        "notes": ["one remark"],
        "label_note": f"3 of {n} labels disagree with something",
        "images": Images(folder, rows),
    }
    return ReportData(**{**text, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty small images in three folders."""
    rng = np.random.default_rng(1)
    for i in range(60):
        file = tmp_path / f"{i % 3}" / f"{i:05d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(file)
    return tmp_path


def make_variants(folder: Path) -> Iterator[tuple[str, ReportData]]:
    whole = make_report_data(folder)
    yield "whole", whole
    yield "pictures gone", make_report_data(folder / "nowhere")
    yield "nothing metrics", make_report_data(folder, n=0, corrected_accuracy=None, results=[])
    yield "nothing compared", replace(whole, results=[whole.results[2]], folds_note="")
    yield "no suspects, no unknowns", replace(whole, label_errors=[], unknown_examples=[], notes=[])
    yield "no mistake", make_perfect(folder)
    yield "many classes", make_report_data(folder, k=90)
    yield "two classes", make_report_data(folder, k=2)
    yield "one image", make_report_data(folder, n=1)
    yield "no file", replace(whole, images=Images(None, ()))


def make_perfect(folder: Path) -> ReportData:
    e = make_report_data(folder)
    p = np.eye(3)[e.y] * 0.97 + 0.01
    return replace(e, probabilities=p, scores=score(e.y, p), prediction_sets=p > 0.5)


def test_every_page_is_self_contained_and_well_formed(folder: Path) -> None:
    for name, e in make_variants(folder):
        text = render_report(e)
        page = Page(text)
        assert page.faults == [], name
        assert page.open == [], name
        for value in page.values("src") + page.values("href"):
            assert value.startswith(("data:", "#")), (name, value)
        assert not re.search(r"@import|url\s*\(|https?:|//[a-z]", page.style), name
        loading = {"script", "iframe", "object", "embed", "video", "audio", "base", "form"}
        assert not loading & set(page.tags), name
        policy = [v for v in page.values("content") if "default-src" in v]
        assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"], name
        text.encode("utf-8")


def test_a_page_is_accessible(folder: Path) -> None:
    for name, e in make_variants(folder):
        page = Page(render_report(e))
        ids = page.values("id")
        assert len(ids) == len(set(ids)), name
        for target in page.values("href"):
            assert target == "data:," or target[1:] in ids, (name, target)
        assert set(page.values("aria-labelledby")) <= set(ids), name
        assert page.tags["caption"] == page.tags["table"], name
        scopes = sum(tag == "th" and key == "scope" for tag, key, _ in page.attributes)
        assert scopes == page.tags["th"], name
        assert page.tags["h1"] == 1, name
        alts = [v for tag, key, v in page.attributes if tag == "img" and key == "alt"]
        assert len(alts) == page.tags["img"], name
        assert all(alts), name


def test_rows_have_as_many_cells_as_the_header(folder: Path) -> None:
    span = re.compile(r'colspan="(\d+)"')
    for name, e in make_variants(folder):
        for table in re.findall(r"<table.*?</table>", render_report(e), re.S):
            widths = {
                sum(int(m[1]) if (m := span.search(cell)) else 1 for cell in cells)
                for row in re.findall(r"<tr.*?</tr>", table, re.S)
                if (cells := re.findall(r"<t[dh]\b[^>]*>", row))
            }
            assert len(widths) == 1, (name, table[:200])


def test_summary_agrees_with_a_plain_count(folder: Path) -> None:
    e = make_report_data(folder)
    text = Page(render_report(e)).text
    answer = e.probabilities.argmax(1)
    n, right = len(e.y), sum(int(a) == int(b) for a, b in zip(e.y, answer, strict=True))
    low, high = wilson_interval(right, n).low, wilson_interval(right, n).high
    assert f"{right} of {n} images were classified correctly" in text
    assert f"{100 * right / n:.1f}{THIN}% (95{THIN}% interval {100 * low:.1f} to" in text
    assert f"{100 * high:.1f}{THIN}%)" in text
    commonest = max(Counter(e.y.tolist()).values())
    assert f"most frequent class would reach {100 * commonest / n:.1f}{THIN}%" in text
    is_covered = sum(bool(e.prediction_sets[i, c]) for i, c in enumerate(e.y))
    assert f"true class in {100 * is_covered / n:.1f}{THIN}%" in text
    assert f"{sum(int(s.sum()) for s in e.prediction_sets) / n:.2f} classes on average" in text
    assert f"{int(e.is_unknown.sum())} of {n} evaluated images" in text
    assert f"{int(sum(e.class_counts['train'])):,} labelled images for training" in text
    assert "17 images without a label" in text
    assert "Of 2 combinations" in text
    assert "GDA(shrink=0.2) on hog" in text
    assert "1 other is not significantly worse" in text
    assert "1 combination was not fully evaluated" in text
    assert f"88.7{THIN}% (95{THIN}% interval 86.1 to 90.9{THIN}%)" in text
    assert "Classify the photos." in text
    assert "One remark." in text
    assert "3 of 60 labels disagree with something." in text


def test_page_contains_what_is_needed_to_reproduce_the_fit(folder: Path) -> None:
    text = Page(render_report(make_report_data(folder))).text
    for needed in (
        "ilk fit 'my photos/' --seed 7",
        "7654321",
        "ilk 9.8.7, torch 2.13.0",
        "my photos/",
        "2026-02-03 04:05 UTC",
    ):
        assert needed in text


def test_class_table_agrees_with_a_plain_count(folder: Path) -> None:
    e = make_report_data(folder)
    answer = [int(a) for a in e.probabilities.argmax(1)]
    rows = parse_rows(render_report(e), "classes-c")
    assert [row[0] for row in rows] == list(e.classes)
    for c, row in enumerate(rows):
        shown = [a for t, a in zip(e.y, answer, strict=True) if t == c]
        hits = shown.count(c)
        said_truly = [t == c for t, a in zip(e.y, answer, strict=True) if a == c]
        assert row[1] == str(e.class_counts["train"][c])
        assert row[2] == str(len(shown))
        assert row[3] == f"{100 * hits / len(shown):.1f}"
        assert row[4].startswith(f"{100 * wilson_interval(hits, len(shown)).low:.1f} to")
        assert row[5] == f"{100 * np.mean(said_truly):.1f}"
        wrong = Counter(a for a in shown if a != c)
        name, times = re.fullmatch(r"(.*)\xa0\((\d+)\)", row[6]).groups()  # type: ignore[union-attr]
        assert wrong[e.classes.index(name)] == int(times) == max(wrong.values())


def test_matrix_agrees_with_a_plain_count(folder: Path) -> None:
    e = make_report_data(folder)
    answer = e.probabilities.argmax(1)
    for c, row in enumerate(parse_rows(render_report(e), "confusion-c")):
        cells = [0 if cell == "·" else int(cell) for cell in row[1:]]
        mine = [int(((e.y == c) & (answer == a)).sum()) for a in range(3)]
        assert cells == [*mine, sum(mine)]


def test_sets_by_size_and_bins_add_up(folder: Path) -> None:
    e = make_report_data(folder, k=12)
    metrics = EvaluationMetrics(e)
    sizes = metrics.count_set_sizes()
    assert sum(s.n for s in sizes) == len(e.y) == sum(b.n for b in metrics.compute_bins())
    assert sum(s.n_covered for s in sizes) == e.coverage.value * len(e.y)
    for s in sizes:
        assert s.n == sum(s.low <= int(row.sum()) <= s.high for row in e.prediction_sets)
    for b in metrics.compute_bins():
        inside = [
            int(p.argmax()) == t
            for p, t in zip(e.probabilities, e.y, strict=True)
            if b.index / 10 <= p.max() < (b.index + 1) / 10
        ]
        assert b.n == len(inside)
        assert b.accuracy.value == pytest.approx(np.mean(inside))


def test_leaderboard_marks_winner_and_ties(folder: Path) -> None:
    rows = parse_rows(render_report(make_report_data(folder)), "leaderboard-c")
    assert rows[0][0] == "GDA(shrink=0.2) hog selected"
    assert rows[0][1:3] == ["91.0", f"83.8 to 95.2{THIN}%"]
    assert rows[0][3:] == ["90.0", "0.300", "2.0", f"1.5{THIN}s"]
    assert rows[1][0] == "Ridge() pixels tied"
    assert rows[1][-1] == f"1{THIN}min 15{THIN}s"
    assert rows[2] == ["ZeroShot() clip/tiny", "no names to read"]


def test_a_correction_for_the_choice_is_shown_only_where_there_was_one(folder: Path) -> None:
    report = make_report_data(folder)
    assert "Corrected for the selection" in Page(render_report(report)).text
    alone = [r for r in report.results if r.method != "Ridge()"]
    assert "Corrected for" not in Page(render_report(replace(report, results=alone))).text


def test_long_leaderboard_is_truncated_and_keeps_its_winner(folder: Path) -> None:
    many = [
        CandidateResult("hog", f"Ridge(penalty={i})", make_scores(0.9), 1.0) for i in range(200)
    ]
    e = replace(make_report_data(folder), results=many, method="Ridge(penalty=150)")
    page = render_report(e)
    rows = parse_rows(page, "leaderboard-c")
    assert len(rows) == 60
    assert rows[-1][0] == "Ridge(penalty=150) hog selected"
    assert "140 more rows are not shown" in Page(page).text
    assert len(leaderboard_to_json(e)["rows"]) == 200


def test_leaderboard_as_json_is_plain(folder: Path) -> None:
    import json

    text = json.loads(json.dumps(leaderboard_to_json(make_report_data(folder)), allow_nan=False))
    assert text["winner"] == {"encoder": "hog", "method": "GDA(shrink=0.2)"}
    assert text["rows"][0]["scores"]["accuracy"]["value"] == 0.91
    assert text["rows"][2] == {
        "encoder": "clip/tiny",
        "method": "ZeroShot()",
        "scores": None,
        "seconds": 0.0,
        "note": "no names to read",
        "tied": False,
    }


def test_most_confident_mistakes_come_first_with_their_own_image(folder: Path) -> None:
    e = make_report_data(folder)
    page = render_report(e)
    section = re.search(r'<section id="mistakes".*?</section>', page, re.S)
    assert section
    alts = [v for tag, key, v in Page(section[0]).attributes if tag == "img" and key == "alt"]
    answer, sure = e.probabilities.argmax(1), e.probabilities.max(1)
    wrong = sorted(np.flatnonzero(answer != e.y), key=lambda i: -sure[i])
    assert len(wrong) > 3
    for alt, i in zip(alts, wrong, strict=True):
        expected = f"{e.classes[e.y[i]]}, classified as {e.classes[answer[i]]}"
        assert alt.startswith(f"{i % 3}/{i:05d}.png: {expected}")


def test_small_images_are_exact_and_pixelated(folder: Path) -> None:
    from base64 import b64decode
    from io import BytesIO

    e = replace(make_report_data(folder), label_errors=[], unknown_examples=[])
    page = Page(render_report(e))
    sources = page.values("src")
    assert sources
    assert "pixelated" in page.values("class")
    assert "image-rendering: pixelated" in page.style
    answer, sure = e.probabilities.argmax(1), e.probabilities.max(1)
    first = max(np.flatnonzero(answer != e.y), key=lambda i: sure[i])
    shown = Image.open(BytesIO(b64decode(sources[0].split(",")[1])))
    there = np.asarray(Image.open(e.paths[first]).convert("RGB"))
    assert np.array_equal(np.asarray(shown.convert("RGB")), there)


def test_an_unreadable_image_is_replaced_by_the_reason(folder: Path) -> None:
    (folder / "0" / "00000.png").write_bytes(b"not a picture at all")
    (folder / "1" / "00001.png").unlink()
    section = re.search(
        r'<section id="label-errors".*?</section>', render_report(make_report_data(folder)), re.S
    )
    assert section
    page = Page(section[0])
    assert page.text.count("No picture:") == 2
    assert "not an image" in page.text
    assert page.tags["img"] == 1
    assert "0/00000.png" in page.text.replace("/ ", "/")


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a&b {{ report.seed }} {% x %}",
)


def test_hostile_names_are_escaped(folder: Path) -> None:
    e = make_report_data(
        folder,
        classes=HOSTILE,
        source="<b>src</b>",
        command="ilk fit '</code><script>'",
        notes=["</section><script>boo()</script>"],
    )
    text = render_report(e)
    page = Page(text)
    assert page.faults == []
    assert page.tags["script"] == 0
    assert not [v for tag, key, v in page.attributes if key.startswith("on")]
    for name in HOSTILE:
        assert name in page.text
    assert "ilk fit '</code><script>'" in page.text


def test_odd_file_names_can_be_written(folder: Path) -> None:
    odd = ("caf\udce9.png", "lone \ud800.png", "bell\x07 \x00 .png", "tur\u202egnp.exe", "😀 ü.png")
    images = Images(
        folder, tuple(Row(name, None, "train", "refused", "unreadable", name) for name in odd)
    )
    e = replace(
        make_report_data(folder),
        images=images,
        label_errors=[(folder / name, "kind-0000", "kind-0001", 0.5) for name in odd],
        classes=("caf\udce9", "ok", "x\x1b[31m"),
        source="sour\udcffce",
        command="ilk fit 'sour\udcffce' \x00",
        version="1\udcff",
        date="2\udcff",
    )
    home = write_report(e, folder / "report.html")
    text = home.read_bytes().decode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert r"caf\xe9.png" in text
    assert "😀 ü.png" in text
    assert Page(text).faults == []


def test_long_names_are_abbreviated_in_the_middle() -> None:
    assert escape_text("caf\udce9") == r"caf\xe9"
    assert escape_text("a\nb") == r"a\nb"
    long = "x" * 500 + "end"
    assert len(abbreviate(long)) <= 64
    assert abbreviate(long).endswith("end")
    assert format_file_name(Path("/data/set/a/b.png"), Path("/data/set")) == "a/b.png"
    assert format_file_name(Path("/data/set/a/b.png")) == "a/b.png"


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "100.0"), (0.99999, ">99.9"), (0.0, "0.0"), (0.0001, "<0.1"), (0.98333, "98.3")],
)
def test_percentages_are_never_rounded_to_certainty(share: float, said: str) -> None:
    assert format_percent_value(share) == said


def test_intake_counts_every_file_once(folder: Path) -> None:
    rows = (
        *(Row(f"a/{i}.png", "a") for i in range(1_234)),
        *(
            Row(f"b/{i}.png", "b", status="refused", reason="duplicate", detail="of a/0.png")
            for i in range(5)
        ),
        Row("b/t.png", "b", status="refused", reason="truncated"),
        Row(".DS_Store", None, status="ignored", reason="system file"),
    )
    page = render_report(replace(make_report_data(folder), images=Images(folder, rows)))
    table = parse_rows(page, "intake-c")
    assert [int(row[1].replace(",", "")) for row in table] == [5, 1, 1, 1_234]
    assert table[0][0].startswith("refused: duplicate")
    assert "of a/0.png" in table[0][2]
    assert "and 2 more" in table[0][2]
    text = Page(page).text
    assert "6 of 1,241 files were refused: duplicate (5) and truncated (1)" in text


def test_notes_appear_once(folder: Path) -> None:
    note = "3 classes were too small to be tested in every fold"
    text = Page(
        render_report(replace(make_report_data(folder), folds_note=note, notes=[note, note]))
    ).text
    assert text.count(note) == 1


def test_a_page_with_a_thousand_classes_and_large_images_stays_under_five_megabytes(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(2)
    noise = Image.fromarray(rng.integers(0, 255, (900, 1200, 3), np.uint8))
    noise.save(tmp_path / "big.jpg", quality=95)
    noise.crop((0, 0, 128, 128)).save(tmp_path / "noise.png")  # as hard on JPEG as can be
    n, k = 5_000, 1_000
    names = tuple(
        f"{c:04d} a rather long name of a class, longer than all you have {c}" for c in range(k)
    )
    files = [tmp_path / "noise.png"] * n
    e = make_report_data(
        tmp_path,
        n,
        k,
        classes=names,
        paths=files,
        results=[
            CandidateResult("hog", f"M(a={i})", make_scores(0.5), 1.0, "n" * 400)
            for i in range(300)
        ],
        label_errors=[(tmp_path / "big.jpg", names[1], names[2], 0.7)] * n,
        unknown_examples=[(f, 3.0) for f in files],
    )
    text = render_report(e)
    assert len(text.encode("utf-8")) < 5_000_000
    page = Page(text)
    assert page.faults == []
    assert page.tags["img"] == 3 * MAX_THUMBNAILS
    assert "pixelated" not in page.values("class")
    assert max(len(v) for v in page.values("src")) < 25_000
    shown = set(page.texts)
    assert all(abbreviate(name) in shown for name in names)
    assert f"{n - MAX_THUMBNAILS:,} more images are not shown" in page.text
    assert "is too large for this page" in page.text


def test_pairs_replace_a_large_matrix(folder: Path) -> None:
    e = make_report_data(folder, n=400, k=40)
    answer = e.probabilities.argmax(1)
    mine = Counter((int(t), int(a)) for t, a in zip(e.y, answer, strict=True) if t != a)
    page = render_report(e)
    rows = parse_rows(page, "pairs-c")
    assert len(rows) == min(40, len(mine))
    assert [int(row[2]) for row in rows] == sorted(mine.values(), reverse=True)[: len(rows)]
    for row in rows:
        truth, called = e.classes.index(row[0]), e.classes.index(row[1])
        assert mine[truth, called] == int(row[2])
        assert row[3] == f"{100 * int(row[2]) / int((e.y == truth).sum()):.1f}"
    assert f"{len(mine) - len(rows)} less frequent pairs are not shown" in Page(page).text


def test_empty_sections_say_so(folder: Path) -> None:
    text = Page(render_report(make_perfect(folder))).text
    assert "No evaluated image was misclassified." in text
    assert "Misclassified images No evaluated image was misclassified." in text
    text = Page(render_report(make_report_data(folder, n=0, corrected_accuracy=None))).text
    assert "not yet evaluated" in text
    assert "No image could be evaluated" in text
    assert "nan" not in text.casefold()
    text = Page(
        render_report(replace(make_report_data(folder), label_errors=[], unknown_examples=[]))
    ).text
    assert "No label disagrees with a confident prediction." in text
    assert "No image was flagged as unknown." in text


def test_direction_of_miscalibration_is_stated(folder: Path) -> None:
    e = make_report_data(folder)
    boast = np.full((60, 3), 0.005)
    boast[np.arange(60), (e.y + 1) % 3] = 0.99
    doubt = np.full((60, 3), 0.3)
    doubt[np.arange(60), e.y] = 0.4
    for p, said in ((boast, "99.0 points above the accuracy"), (doubt, "60.0 points below")):
        sure = replace(e, probabilities=p, scores=score(e.y, p))
        assert said in dict(build_summary(sure, EvaluationMetrics(sure)))["Calibration"]


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_has_sufficient_contrast_in_light_and_dark_mode(folder: Path) -> None:
    page = render_report(make_report_data(folder))
    style = Page(page).style
    deepest = max(float(h) for h in re.findall(r"--alpha:([\d.]+)", page))
    assert deepest == 0.5
    themes = re.findall(r":root \{(.*?)\}", style, re.S)
    assert len(themes) == 2
    for theme in themes:
        found = {
            name: tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))
            for name, value in re.findall(r"--([a-z]+): #([0-9a-f]{6})", theme)
        }
        tint = tuple(int(c) / 255 for c in re.search(r"--tint: (\d+) (\d+) (\d+)", theme).groups())  # type: ignore[union-attr]
        cell = tuple(
            deepest * t + (1 - deepest) * p for t, p in zip(tint, found["paper"], strict=True)
        )
        for text in ("ink", "muted", "accent"):
            for ground in ("paper", "panel"):
                assert contrast(found[text], found[ground]) >= 4.5, (text, ground)
        assert contrast(found["ink"], cell) >= 4.5


def test_a_page_that_cannot_be_written_is_an_output_error(folder: Path) -> None:
    with pytest.raises(
        OutputError,
        match=r"cannot write .*report\.html: .*; free some space or choose another location",
    ):
        write_report(make_report_data(folder), folder / "no such folder" / "report.html")


def test_wrong_shapes_are_refused(folder: Path) -> None:
    whole = make_report_data(folder)
    with pytest.raises(
        ValueError, match=r"prediction_sets has shape \(60, 2\); expected \(60, 3\)"
    ):
        replace(whole, prediction_sets=whole.prediction_sets[:, :2])
    with pytest.raises(ValueError, match="59 paths for 60 evaluated images"):
        replace(whole, paths=whole.paths[1:])
    with pytest.raises(ValueError, match=r"class_counts\['train'\] has 1 entries for 3 classes"):
        replace(whole, class_counts={"train": [4]})
    with pytest.raises(ValueError, match="y ranges from 0 to 3; 3 classes allow 0 to 2"):
        replace(whole, y=np.arange(60) % 4)


def test_an_interval_on_a_scale_of_one_value_is_drawn_at_its_end():
    from ilk.core.metrics import Interval
    from ilk.report.charts import draw_interval_bar

    bar = draw_interval_bar(Interval(1.0, 1.0, 1.0), 1.0, 1.0)  # every candidate is right
    assert 'x="117.0"' in bar
