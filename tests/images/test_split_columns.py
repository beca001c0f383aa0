"""Columns that say what is held out: read where they are clear, named where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.frames import Frame
from helpers.noise_images import save_noise
from ilk.core.errors import InputError
from ilk.images import Images, read_images

CLASSES = ("disc", "bar", "cross")
PATHS = [f"{c}/{i}.png" for c in CLASSES for i in range(6)]
PART = [i for _ in CLASSES for i in range(6)]  # 0 to 5 within each class
HELD = [i > 3 for i in PART]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for k, path in enumerate(PATHS):
        save_noise(root / path, k)
    return root


def write(folder: Path, columns: dict[str, list], kind: str = ".csv") -> Path:
    columns = {"path": PATHS, "label": [p.split("/")[0] for p in PATHS], **columns}
    lines = list(zip(*columns.values(), strict=True))
    file = folder / f"table{kind}"
    if kind == ".jsonl":
        file.write_text(
            "".join(json.dumps(dict(zip(columns, x, strict=True))) + "\n" for x in lines)
        )
    elif kind == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(columns), file)
    else:
        text = "\n".join(",".join("" if v is None else str(v) for v in x) for x in lines)
        file.write_text(",".join(columns) + "\n" + text + "\n")
    return file


def splits(images: Images) -> list[str]:
    return [row.split for row in images.rows]


def expected(held: str) -> list[str]:
    return [held if h else "train" for h in HELD]


CLEAR = [
    ("is_valid", HELD, "val"),
    ("Is Valid", [int(h) for h in HELD], "val"),
    ("is_train", [not h for h in HELD], "test"),
    ("is_train", ["no" if h else "yes" for h in HELD], "test"),
    ("is_test", [float(h) for h in HELD], "test"),
    ("subset", ["test" if h else "train" for h in HELD], "test"),
    ("Usage", ["PrivateTest" if h else "Training" for h in HELD], "test"),
    ("Usage", ["PublicTest" if h else "Training" for h in HELD], "test"),
    ("set", ["VALIDATION" if h else "TRAIN" for h in HELD], "val"),
    ("partition", ["dev" if h else "train" for h in HELD], "val"),
    ("phase", ["Test Data" if h else "Train Data" for h in HELD], "test"),
    ("dataset", ["test" if h else "training_set" for h in HELD], "test"),
    ("fold", ["test" if h else None for h in HELD], "test"),
]


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".parquet", "frame"])
@pytest.mark.parametrize(("name", "values", "held"), CLEAR)
def test_what_is_clear_is_read_and_said(folder, name, values, held, kind):
    if kind == "frame":
        labels = [p.split("/")[0] for p in PATHS]
        paths = [str(folder / p) for p in PATHS]
        source = Frame({"path": paths, "label": labels, name: values}, "pandas")
    elif kind == ".tsv":
        source = write(folder, {name: values}, ".csv")
        text = source.read_text().replace(",", "\t")
        source = folder / "table.tsv"
        source.write_text(text)
    else:
        source = write(folder, {name: values}, kind)
    images = read_images(source)
    assert splits(images) == expected(held)
    [note] = images.notes
    assert f"the splits were read from {name} of" in note
    assert f"(12 train, 6 {held})" in note
    assert splits(read_images(source, split_column="none")) == ["train"] * 18
    assert splits(read_images(source, split_column=name)) == expected(held)


def test_the_column_split_is_read_without_a_word(folder):
    images = read_images(write(folder, {"split": ["test" if h else "train" for h in HELD]}))
    assert (splits(images), images.notes) == (expected("test"), ())


def test_several_marks_are_read_together(folder):
    is_valid = [i == 4 for i in PART]
    is_test = [i == 5 for i in PART]
    images = read_images(write(folder, {"is_valid": is_valid, "is_test": is_test}))
    assert splits(images) == [{4: "val", 5: "test"}.get(i, "train") for i in PART]
    is_train = [i < 4 for i in PART]
    same = read_images(write(folder, {"is_train": is_train, "is_valid": is_valid}))
    assert splits(same) == splits(images)


UNCLEAR = [
    ("fold", PART),
    ("set", ["A" if h else "B" for h in HELD]),
    ("subset", ["train" if h else "easy" for h in HELD]),
    ("is_valid", [not h for h in HELD]),  # most lines are: perhaps they are sound
    ("is_test", ["maybe" if h else "no" for h in HELD]),
    ("is_train", ["" if h else "yes" for h in HELD]),
]


@pytest.mark.parametrize(("name", "values"), UNCLEAR)
def test_what_is_unclear_is_named_and_not_read(folder, name, values):
    images = read_images(write(folder, {name: values, "note": ["x"] * 18, "id": PART}))
    assert splits(images) == ["train"] * 18
    [note] = images.notes
    assert note.startswith(f"columns of table.csv that were not read: {name}, note; ")
    assert f"read it with --split-column (split_column=) {name}, or '{name}:test=VALUE'" in note


def test_marks_that_contradict_each_other_are_not_read(folder):
    images = read_images(write(folder, {"is_train": HELD, "is_test": HELD}))
    assert splits(images) == ["train"] * 18
    assert "if is_train or is_test says what is held out" in images.notes[0]


def test_the_user_says_what_the_values_mean(folder):
    table = write(folder, {"fold": PART})
    images = read_images(table, split_column="fold:test=5,val=4")
    assert splits(images) == [{4: "val", 5: "test"}.get(i, "train") for i in PART]
    assert images.notes == ()
    colon = write(folder, {"fold:a": PART})
    assert splits(read_images(colon, split_column="fold:a:test=5")).count("test") == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("fold", r"holds 0, 1, 2, 3, 4, 5, not train.*'fold:test=0'"),
        ("fold:test=9", r"no cell of column 'fold' .* is '9'; it holds 0, 1"),
        ("fold:5", r"write what each value means as in 'fold:test=0'"),
        ("fold:exam=5", r"write what each value means"),
        ("fold:test=5,val=5", r"gives '5' two meanings"),
        ("part", r"no column 'part'; its columns are: path, label, fold"),
    ],
)
def test_a_wrong_split_column_is_refused_in_a_sentence(folder, given, message):
    with pytest.raises(InputError, match=message):
        read_images(write(folder, {"fold": PART}), split_column=given)


def test_a_split_column_needs_a_table(folder):
    with pytest.raises(InputError, match="split_column"):
        read_images(folder, split_column="fold")
    with pytest.raises(InputError, match="split_column is for tables"):
        read_images([folder / PATHS[0]], labels=None, split_column="fold")


def test_the_value_of_a_split_is_said_how_to_read(folder):
    table = write(folder, {"split": PART})
    with pytest.raises(InputError, match=r"line 2: split '0' is not known.*'split:test=0'"):
        read_images(table)
    assert splits(read_images(table, split_column="split:test=5")).count("test") == 3


def test_a_metadata_table_in_a_folder_and_several_labels(folder, tmp_path):
    for path in PATHS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes((folder / path).read_bytes())
    text = write(folder, {"is_valid": HELD}).read_text()
    (tmp_path / "metadata.csv").write_text(text)
    images = read_images(tmp_path)
    assert sum(row.split == "val" for row in images.used) == 6
    assert "read from is_valid of metadata.csv" in images.notes[0]


@pytest.mark.parametrize("mark", ["is_test", "is_valid"])
def test_a_mark_of_what_is_held_out_is_no_label(folder, mark):
    ones = {"a": [int(h) for h in HELD], "b": [int(not h) for h in HELD]}
    held = HELD if mark == "is_test" else [not h for h in HELD]  # the second is unclear
    table = write(folder, {**ones, mark: [int(h) for h in held]})
    table.write_text(table.read_text().replace("label", "kind"))
    images = read_images(table, multi_label=True)
    assert images.classes == ("a", "b")
    assert splits(images) == (expected("test") if mark == "is_test" else ["train"] * 18)
