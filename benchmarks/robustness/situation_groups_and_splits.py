"""Situations of groups, and of parts that were taken for classes or for training images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from benchmarks.robustness.commands import Outcome, call
from benchmarks.robustness.inputs import (
    SHAPES,
    draw_picture,
    list_labelled,
    write_folder,
    write_table,
)
from benchmarks.robustness.situations import Desk, Situation

GROUPS, PARTS = "groups", "parts of a data set"
FAST = ("--encoder", "pixels/8x8x3", "--method", "GDA")
N_PATIENTS, SHOTS = 16, 5


def _write_patients(desk: Desk) -> None:
    """Write near-identical shots of patients whose labels are drawn at random."""
    rng, rows = np.random.default_rng(4), []
    (desk.root / "scans").mkdir()
    for patient in range(N_PATIENTS):
        base = np.asarray(draw_picture(SHAPES[patient % 3], 3000 + patient)).astype(int)
        label = "ill" if rng.random() < 0.5 else "well"
        for shot in range(SHOTS):
            pixels = np.clip(base + rng.integers(-4, 5, base.shape), 0, 255).astype(np.uint8)
            name = f"p{patient:02}_{shot}.png"
            Image.fromarray(pixels).save(desk.root / "scans" / name)
            rows.append((f"scans/{name}", label, f"p{patient:02}"))
    write_table(desk.root / "scans.csv", ("path", "label", "patient"), rows)


def _fit_patients(*options: str) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        _write_patients(desk)
        source = desk.root / "scans.csv"
        return call("fit", source, *FAST, *options, "--out", desk.root / "out")

    return run


def _group_in_both(desk: Desk) -> Outcome:
    rows = [
        (path, shape, "test" if i == 5 else "train", f"g{i // 3}")
        for path, shape, i in list_labelled(desk.root)
    ]
    table = write_table(desk.root / "t.csv", ("path", "label", "split", "group"), rows)
    return call("fit", table, *FAST, "--group-column", "group", "--out", desk.root / "out")


def _parts(train: str, test: str) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        write_folder(desk.root / "data" / train, 6)
        write_folder(desk.root / "data" / test, 3, first=100)
        return call("check", desk.root / "data")

    return run


def _class_first(desk: Desk) -> Outcome:
    for shape in SHAPES:
        for part, first in (("train", 0), ("test", 100)):
            write_folder(desk.root / "data" / shape, 4, {part: shape}, first=first)
    return call("check", desk.root / "data")


def _held_out(
    column: str, held_out: object, training: object, *options: str
) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        rows = [
            (path, shape, held_out if i > 3 else training)
            for path, shape, i in list_labelled(desk.root)
        ]
        table = write_table(desk.root / "t.csv", ("path", "label", column), rows)
        return call("check", table, *options)

    return run


LAYOUTS = (
    ("training_set", "test_set"),
    ("seg_train", "seg_test"),
    ("train_images", "test_images"),
    ("train2017", "val2017"),
    ("trainset", "testset"),
    ("Train Data", "Test Data"),
    ("train/train", "test/test"),
)
COLUMNS = (
    ("is_valid", True, False),
    ("is_train", 0, 1),
    ("subset", "test", "train"),
    ("set", "test", "train"),
    ("partition", "test", "train"),
    ("Usage", "PrivateTest", "Training"),
    ("phase", "val", "train"),
    ("dataset", "test", "train"),
    ("fold", 1, 0),
)
READ_OR_ASKED = r"train.*(test|val)|split"

SITUATIONS = (
    Situation(
        GROUPS,
        "near-identical shots of patients: ilk fit --group-column patient",
        _fit_patients("--group-column", "patient"),
        (0,),
        f"{N_PATIENTS} groups",
    ),
    Situation(
        GROUPS,
        "the patient in the file name: ilk fit --group-from 'p\\d+'",
        _fit_patients("--group-from", r"(p\d+)_"),
        (0,),
        f"{N_PATIENTS} groups",
    ),
    Situation(
        GROUPS,
        "the same without the option: ilk fit",
        _fit_patients(),
        (0,),
        "--group-",
    ),
    Situation(
        GROUPS,
        "--group-column with a column that is not there",
        _fit_patients("--group-column", "nobody"),
        (2,),
        "nobody",
    ),
    Situation(
        GROUPS,
        "--group-from with no regular expression",
        _fit_patients("--group-from", "("),
        (2,),
        "group-from|regular expression",
    ),
    Situation(GROUPS, "a group in train and in test: ilk fit", _group_in_both, (0, 2), "group"),
    *(
        Situation(PARTS, f"{a}/ beside {b}/: ilk check", _parts(a, b), (0, 2), READ_OR_ASKED)
        for a, b in LAYOUTS
    ),
    Situation(PARTS, "ring/train, ring/test: ilk check", _class_first, (0, 2), READ_OR_ASKED),
    *(
        Situation(
            PARTS,
            f"a column {name} in the table: ilk check",
            _held_out(name, a, b),
            (0, 2),
            rf"{name}|{READ_OR_ASKED}",
        )
        for name, a, b in COLUMNS
    ),
    Situation(
        PARTS,
        "--split-column subset: ilk check",
        _held_out("subset", "test", "train", "--split-column", "subset"),
        (0,),
        "train.*test",
    ),
    Situation(
        PARTS,
        "--split-column with a column that is not there",
        _held_out("subset", "test", "train", "--split-column", "nobody"),
        (2,),
        "nobody",
    ),
)
