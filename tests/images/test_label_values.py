"""One value as a class name, the same through every door."""

from __future__ import annotations

import enum
import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from helpers.frames import Frame
from ilk.core.errors import InputError
from ilk.fitting.config import FitConfig
from ilk.images import read_images
from ilk.images.annotations.label_values import parse_labels
from ilk.images.annotations.spellings import adopt_spellings, match_class_names

NA = type("NAType", (), {"__eq__": lambda s, o: s, "__bool__": lambda s: 1 / 0, "__hash__": id})()
NAT = np.datetime64("NaT")


class Color(enum.StrEnum):
    RED = "red"


class Kind(str, enum.Enum):  # noqa: UP042 (its str() is "Kind.CAT")
    CAT = "cat"


VALUES = [
    (["cat", " dog ", "\tnew\u00a0"], ["cat", "dog", "new"]),
    (["007", "1.0"], ["007", "1"]),
    (["1.0", "2.0", "", None], ["1", "2", None, None]),
    (["1.0", "2.5"], ["1.0", "2.5"]),
    (["1.10", "1.0"], ["1.10", "1.0"]),
    (["v1.0", "1.0"], ["v1.0", "1.0"]),
    ([1.0, 2.0, float("nan")], ["1", "2", None]),
    ([1.0, 2.5], ["1.0", "2.5"]),
    ([1, 2], ["1", "2"]),
    ([np.float32(0.1), np.float32(2)], ["0.1", "2.0"]),
    ([np.int64(3), np.float64(3)], ["3", "3"]),
    ([Decimal("1.0"), Decimal("2.50")], ["1.0", "2.50"]),
    ([Decimal("1.0"), Decimal("2.00")], ["1", "2"]),
    ([float("inf"), 1.0], ["inf", "1.0"]),
    ([True, False], ["True", "False"]),
    ([np.True_, None], ["True", None]),
    ([np.str_("cat"), np.array("dog"), b"emu"], ["cat", "dog", "emu"]),
    ([date(2020, 1, 2), datetime(2020, 1, 3)], ["2020-01-02", "2020-01-03 00:00:00"]),
    ([datetime(2020, 1, 2), datetime(2020, 1, 3)], ["2020-01-02", "2020-01-03"]),
    (["2020-01-02 00:00:00", ""], ["2020-01-02", None]),
    (
        [datetime(2020, 1, 2, 3), datetime(2020, 1, 3)],
        ["2020-01-02 03:00:00", "2020-01-03 00:00:00"],
    ),
    ([np.datetime64("2020-01-02", "ns"), NAT], ["2020-01-02", None]),
    ([Color.RED, Kind.CAT], ["red", "cat"]),
    ([None, "", "  ", float("nan"), NA, NAT], [None] * 6),
    (["nan", "None", "NA", "null", "none", "N/A"], ["nan", "None", "NA", "null", "none", "N/A"]),
    ([["cat"], ["dog"], []], ["cat", "dog", None]),
]


@pytest.mark.parametrize(("values", "names"), VALUES)
def test_a_value_gives_a_class_name(values, names):
    assert parse_labels(values) == names


@pytest.mark.parametrize(
    "value",
    [{"id": 1}, object(), 1j, PurePath("cat"), b"\xff", np.zeros((2, 2)), [{"id": 1}], lambda: 1],
)
def test_what_is_no_name_is_refused(value):
    with pytest.raises(
        InputError, match=r"the label .* is of type \w+; labels are text or numbers"
    ):
        parse_labels(["cat", value])


@pytest.mark.parametrize("text", ["B\udce4r", "\ud800"])
def test_bytes_that_are_no_text_are_refused(text):
    with pytest.raises(InputError, match=r"is not UTF-8 text; save the table as UTF-8"):
        parse_labels([text])


# ---- every door of intake ----


def draw(root: Path, *paths: str) -> list[str]:
    for i, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (i, 99, 7)).save(root / path)
    return [str(root / path) for path in paths]


def table(root, labels, kind):
    paths = ["0.png", "1.png", "2.png"]
    file = root / f"t{kind}"
    if kind == ".jsonl":
        lines = ({"path": p, "label": c} for p, c in zip(paths, labels, strict=True))
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    elif kind == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"path": paths, "label": labels}), file)
    else:
        mark = "\t" if kind == ".tsv" else ","
        lines = (f"{p}{mark}{'' if c is None else c}\n" for p, c in zip(paths, labels, strict=True))
        file.write_text(f"path{mark}label\n" + "".join(lines), encoding="utf-8")
    return read_images(file)


def metadata(root, labels):
    table(root, labels, ".csv")
    (root / "t.csv").rename(root / "metadata.csv")
    return read_images(root)


def folders(root, labels):
    for i, label in enumerate(labels):
        (root / str(label)).mkdir(parents=True, exist_ok=True)
        (root / f"{i}.png").rename(root / str(label) / f"{i}.png")
    return read_images(root)


PNG = ("0.png", "1.png", "2.png")
DOORS = {
    **{kind: lambda root, x, k=kind: table(root, x, k) for kind in (".csv", ".tsv", ".jsonl")},
    ".parquet": lambda root, x: table(root, x, ".parquet"),
    "metadata": metadata,
    "folders": folders,
    "frame": lambda root, x: read_images(
        Frame({"path": [str(root / p) for p in PNG], "label": x}, "pandas")
    ),
    "labels": lambda root, x: read_images([str(root / p) for p in PNG], labels=x),
    "array": lambda root, x: read_images([str(root / p) for p in PNG], labels=np.array(x)),
    "column": lambda root, x: read_images(
        [str(root / p) for p in PNG], labels=np.array(x)[:, None]
    ),
    "frame of labels": lambda root, x: read_images(
        [str(root / p) for p in PNG], labels=Frame({"y": x}, "pandas")
    ),
    "pyarrow": lambda root, x: read_images(
        [str(root / p) for p in PNG], labels=pytest.importorskip("pyarrow").array(x)
    ),
    "generator": lambda root, x: read_images([str(root / p) for p in PNG], labels=iter(x)),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["cat", "cat", "dog"], ["cat", "cat", "dog"]),
        ([" cat", " cat", "dog "], ["cat", "cat", "dog"]),
        (["1.0", "2.0", "2.0"], ["1", "2", "2"]),
        (["007", "1.10", "x"], ["007", "1.10", "x"]),
        (["NA", "None", "nan"], ["NA", "None", "nan"]),
        (["ä|b", "=x", "a;b"], ["ä|b", "=x", "a;b"]),
    ],
)
def test_every_door_gives_the_same_class(tmp_path, door, labels, names):
    draw(tmp_path, *PNG)
    images = DOORS[door](tmp_path, labels)
    assert [r.label for r in sorted(images.used, key=lambda r: Path(r.path).name)] == names


@pytest.mark.parametrize("door", [d for d in DOORS if d not in ("folders", "array", "column")])
def test_numbers_are_the_same_class_as_text(tmp_path, door):
    draw(tmp_path, *PNG)
    images = DOORS[door](tmp_path, [1.0, 2.0, None])
    assert [row.label for row in images.used] == ["1", "2", None]


def test_two_folders_of_one_number_are_two_spellings(tmp_path):
    draw(tmp_path, "1/a.png", "1.0/b.png", "2/c.png")
    with pytest.raises(InputError, match=r"'1' \(1 files\) and '1.0' \(1 files\)"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"a.png": "cat"}, "of type dict; give a list"),
        ({"cat", "dog", "emu"}, "of type set; give a list"),
        (3, "of type int; give a list"),
        (np.eye(3), r"an array of shape \(3, 3\).*argmax"),
        (Frame({"a": [1, 2, 3], "b": [1, 2, 3]}, "pandas"), "2 columns; give one, such as df"),
        ("cat", "the text 'cat'"),
    ],
)
def test_labels_in_no_order_are_refused(tmp_path, labels, message):
    with pytest.raises(InputError, match=message):
        read_images(draw(tmp_path, *PNG), labels=labels)


def test_a_composite_label_never_becomes_its_python_form(tmp_path):
    draw(tmp_path, *PNG)
    for kind in (".jsonl", ".parquet"):
        with pytest.raises(InputError, match="looks like multi-label"):
            table(tmp_path, [["cat", "x"], ["dog", "x"], ["emu", "x"]], kind)
        with pytest.raises(InputError, match="is of type dict"):
            table(tmp_path, [{"id": "cat"}, {"id": "dog"}, {"id": "emu"}], kind)
    with pytest.raises(InputError, match="is of type dict"):
        read_images(draw(tmp_path, *PNG), labels=[[{"id": 1}], ["a"], ["b"]], multi_label=True)


def test_sets_of_numbers_are_written_one_way(tmp_path):
    files = draw(tmp_path, *PNG)
    lists = read_images(files, labels=[[1.0, 2.0], [2.0], []], multi_label=True)
    texts = read_images(files, labels=["1.0;2.0", "2.0", "none"], multi_label=True)
    assert [r.labels for r in lists.rows] == [r.labels for r in texts.rows]
    assert lists.classes == ("1", "2")


def test_sets_whose_names_hold_the_separator_are_told_apart(tmp_path):
    files = draw(tmp_path, *PNG)
    images = read_images(files, labels=[["a; b"], ["a", "b"], ["a", "a; b"]], multi_label=True)
    assert len({row.label for row in images.rows}) == 3
    again = read_images(files, labels=[r.label for r in images.rows], multi_label=True)
    assert [r.labels for r in again.rows] == [("a; b",), ("a", "b"), ("a", "a; b")]


def test_classes_of_a_setting_are_clean_names():
    assert FitConfig(classes=(" cat", "dog ")).classes == ("cat", "dog")
    with pytest.raises(InputError, match="a class name is empty"):
        FitConfig(classes=("cat", " "))
    with pytest.raises(InputError, match="not UTF-8"):
        FitConfig(classes=("B\udce4r",))


def test_a_name_finds_the_class_of_a_model_in_any_spelling(tmp_path):
    known = ("caf\u00e9", "1", "Dog", "a", "A")
    names = ["cafe\u0301", "1.0", "dog ", "emu", "a", "\u00e4"]
    assert match_class_names(names, known) == {"cafe\u0301": known[0], "1.0": "1", "dog ": "Dog"}
    images = read_images(draw(tmp_path, *PNG), labels=["cafe\u0301", "dog", "emu"])
    adopted, note = adopt_spellings(images, known)
    assert [row.label for row in adopted.rows] == ["caf\u00e9", "Dog", "emu"]
    assert r"'cafe\u0301' as 'caf\xe9'" in note
    assert adopt_spellings(adopted, known) == (adopted, "")
