"""`ilk search` as a user types it: tables, files, pages and errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from helpers.browser import open_browser, open_page
from helpers.coloured_images import write_images
from ilk.cli import run
from ilk.cli.search import command, repeat_options
from ilk.images import read_images

ENCODER = ["--encoder", "pixels/4x4x3"]


def search(*args: object) -> None:
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "photos"
    write_images(folder, per_colour=10)
    return folder


def test_the_table_the_csv_and_the_json_say_the_same(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, out = photos / "red_0_0.png", tmp_path / "found.csv"
    search(photos, query, *ENCODER, "--count", "4", "--out", out, "--json")
    value = json.loads(capsys.readouterr().out)
    (answer,) = value["answers"]
    assert answer["left_out"] == str(query)
    assert [Path(hit["path"]).name.split("_")[0] for hit in answer["hits"]] == ["red"] * 4
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [hit["path"] for hit in answer["hits"]]
    assert [int(row["id"]) for row in rows] == [hit["id"] for hit in answer["hits"]]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    search(photos, query, *ENCODER, "--count", "4", "--out", out)  # its own file is replaced
    printed = capsys.readouterr().out
    assert all(Path(row["path"]).name in printed.replace("\n", "") for row in rows)
    assert "the query itself is one of these images and is left out" in printed
    assert len(read_images(out).used) == 4  # what ilk writes it reads back


def test_words_after_like_and_unlike_belong_to_them(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repeat_options(["d", "--like", "a", "b", "--unlike", "c", "--count", "2"]) == [
        *("d", "--like", "a", "--like", "b", "--unlike", "c", "--count", "2")
    ]
    red = [photos / f"red_0_{i}.png" for i in (1, 2)]
    blue = photos / "blue_0_1.png"
    search(photos, "--like", *red, "--unlike", blue, *ENCODER, "--count", "5", "--json")
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert answer["query"] == f"like {red[0]}, like {red[1]}, unlike {blue}"
    assert {Path(hit["path"]).name[:4] for hit in answer["hits"]} == {"red_"}
    assert run(["search", str(photos), "--like"]) == 2


def test_each_query_on_its_own(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = [photos / "red_0_1.png", photos / "green_0_1.png"]
    search(photos, *queries, "--each", *ENCODER, "--count", "3", "--json")
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [answer["query"] for answer in answers] == [str(q) for q in queries]
    for answer, colour in zip(answers, ("red", "green"), strict=True):
        assert {Path(h["path"]).name.split("_")[0] for h in answer["hits"]} == {colour}


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["red things"], "pixels/4x4x3 reads no text", 2),
        (["no.jpg"], "cannot be read as an image (missing", 2),
        ([], "there is no query", 2),
        (["--class", "red"], "no image has a label", 2),
        (["Q", "--kind", "Exakt"], "the nearest is Exact", 2),
        (["Q", "--kind", "HashCodes(bits=8)"], "allowed are 16 to 256", 2),
        (["Q", "--projection", "PCA", "--index", "I"], "no projection is called 'PCA'", 2),
        (["Q", "--projection", "LDA"], "learns from labels", 2),
        (["Q", "--out", "x.docx"], "must be one of .html, .csv, .tsv", 2),
        (["Q", "--index", "INSIDE"], "whose files are read as images", 5),
        (["Q", "--each", "--like", "Q"], "leave out --like and --unlike", 2),
    ],
)
def test_wrong_input_is_one_sentence(
    photos: Path,
    tmp_path: Path,
    args: list[str],
    message: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = {"Q": photos / "red_0_0.png", "I": tmp_path / "i", "INSIDE": photos / "index"}
    assert run(["search", str(photos), *(str(named.get(a, a)) for a in args), *ENCODER]) == code
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "Traceback" not in error
    assert error.count("\nilk: ") == 0


def test_the_page_shows_every_picture_on_a_phone_in_the_dark(photos: Path, tmp_path: Path) -> None:
    page_file = tmp_path / "found.html"
    query = photos / "red_0_0.png"
    search(photos, query, *ENCODER, "--count", "7", "--out", page_file)
    text = page_file.read_text("utf-8")
    assert "http" not in text.replace("http-equiv", "")  # nothing is loaded from elsewhere
    search(photos, query, *ENCODER, "--count", "6", "--out", page_file)  # its own page is replaced
    with (
        open_browser() as browser,
        open_page(
            browser,
            page_file.as_uri(),
            viewport={"width": 360, "height": 800},
            color_scheme="dark",
        ) as page,
    ):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert len(widths) == 7  # what was asked and what was found
        assert min(widths) > 0
        assert page.locator("figcaption").nth(0).inner_text().startswith("asked")
        assert "similarity" in page.locator("figcaption").nth(1).inner_text()


def test_a_page_that_ilk_did_not_write_is_left_alone(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.html"
    own.write_text("<!doctype html><title>mine</title>")
    assert run(["search", str(photos), str(photos / "red_0_0.png"), "--out", str(own)]) == 5
    assert "was not written by ilk" in capsys.readouterr().err
    assert own.read_text() == "<!doctype html><title>mine</title>"
