"""`ilk learn-metric --compatible-with`: an index of the first version answers the second."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.digit_folders import write_digits
from ilk.cli import run
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned_folder import read_tuned, write_tuned
from ilk.images.pixels import PixelEncoder

NAMES = tuple(f"digit {c}" for c in range(5))


def learn(folder, out, *more):
    options = (
        *("--encoder", "pixels/8x8x1", "--loss", "DSimplex", "--width", "12", "--updates", "200"),
        *("--hold-out", "0", "--force", "--out", str(out)),
    )
    return run(["learn-metric", str(folder), *options, *map(str, more)])


def search(*args):
    return run(["search", *map(str, args)])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The images of two versions, both versions, and an index of the first."""
    home = tmp_path_factory.mktemp("versions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ILK_STORE", str(home / "store.sqlite"))
        write_digits(home / "photos", dict.fromkeys(NAMES, 15))
        write_digits(home / "few", dict.fromkeys(NAMES[1:], 15))
        assert learn(home / "few", home / "v1") == 0
        query = next((home / "photos" / NAMES[1]).iterdir())
        encoder = f"tuned:{home / 'v1'}"
        index = ("--index", home / "index", "--projection", "none")
        assert search(home / "photos", query, "--encoder", encoder, *index) == 0
        assert learn(home / "photos", home / "v2", "--compatible-with", home / "v1") == 0
        yield home


def test_an_index_of_the_old_version_answers_queries_of_the_new_one(home, capsys):
    new = read_tuned(home / "v2")
    assert new.compatible_with == (resolve_encoder(f"tuned:{home / 'v1'}").space.key,)
    assert new.results["compatibility"]["gain"] >= 0
    assert new.classes == (*NAMES[1:], NAMES[0])  # old classes keep their vertices
    queries = sorted((home / "photos" / NAMES[0]).iterdir())[:3]
    encoder, table = f"tuned:{home / 'v2'}", home / "found.csv"
    options = ("--each", "--count", 6, "--out", table, "--encoder", encoder)
    assert search(home / "index", *queries, *options) == 0
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 18
    assert np.mean([row["label"] == NAMES[0] for row in rows]) > 0.8


def test_images_that_the_index_holds_are_not_encoded_by_the_new_version(home, capsys, monkeypatch):
    monkeypatch.setenv("ILK_STORE", str(home / "other.sqlite"))
    prepare, prepared = PixelEncoder.prepare, []
    monkeypatch.setattr(
        PixelEncoder, "prepare", lambda self, image: prepared.append(1) or prepare(self, image)
    )
    query, encoder = next((home / "photos" / NAMES[1]).iterdir()), f"tuned:{home / 'v2'}"
    new = home / "photos" / NAMES[0] / "new.png"
    Image.new("L", (8, 8), 90).save(new)
    try:
        assert search(home / "photos", query, "--encoder", encoder, "--index", home / "index") == 0
    finally:
        new.unlink()
    shown = capsys.readouterr()
    assert "a compatible update" in shown.out + shown.err
    assert "1 new; the index is up to date again" in " ".join((shown.out + shown.err).split())
    assert len(prepared) == 2  # the new image and the query


def test_an_index_refuses_a_version_that_is_not_known_to_be_compatible(home, capsys):
    write_tuned(home / "other", replace(read_tuned(home / "v2"), compatible_with=()))
    # The key of a space is that of its weights: the same network, which does not say what it knows.
    query = next((home / "photos" / NAMES[0]).iterdir())
    assert search(home / "index", query, "--encoder", f"tuned:{home / 'other'}") == 2
    assert "search with the same encoder, or build the index again" in capsys.readouterr().err


def test_what_cannot_be_compatible_is_refused_in_one_sentence(home, capsys):
    for words, more in (
        ("--loss DSimplex", ("--compatible-with", home / "v1", "--loss", "SupCon")),
        ("another folder with --out", ("--compatible-with", home / "v2")),
        ("holds no tuned.json", ("--compatible-with", home / "photos")),
        ("give --encoder pixels/8x8x1", ("--compatible-with", home / "v1", "--encoder", "hog")),
    ):
        assert learn(home / "photos", home / "v2", *more) in (2, 3), words
        message = capsys.readouterr().err
        assert words in " ".join(message.split()), message
        assert "Traceback" not in message
