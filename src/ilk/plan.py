"""`Plan`: what was asked of a fit, and which images take which part in it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ilk.data import Labels
from ilk.encoders.among import PROMPTS as PROMPTS
from ilk.errors import InputError, NoLabels
from ilk.images import Images, Row

SELECT = ("accuracy", "macro_accuracy", "log_loss")


@dataclass(frozen=True)
class Plan:
    """How to fit; the defaults work.

    Attributes:
        encoders: Names as after `--encoder`; `default`, or none at all, takes the good ones that
            can be had.
        classifiers: Networks that classify by themselves, `diffusion:PATH`, to stand beside.
        methods: Methods as they are written, `GDA(shrink=0.2)`; empty takes the default board.
        folds: Parts of the cross-validation, at least 2.
        seed: Fixes folds, bootstrap and every method's own draws.
        coverage: How often a conformal set must hold the true class, in (0, 1).
        false_alarm: Share of images of known kinds that may be called unknown, in (0, 1).
        select: What the winner must win: accuracy, macro_accuracy or log_loss.
        classes: Names to choose from where there is no label (zero-shot).
        prompts: Sentences with `{}` for a class name, for encoders that read text.
        descriptions: Sentences that name no class, for encoders that read text: those that tell
            classes apart are chosen (`DescriptionSelection`).
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: torch, channels-last or openvino.
        precision: float32 or bfloat16.

    Raises:
        InputError: A value is out of its range.
    """

    encoders: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    folds: int = 5
    seed: int = 0
    coverage: float = 0.9
    false_alarm: float = 0.05
    select: str = "accuracy"
    classes: tuple[str, ...] = ()
    prompts: tuple[str, ...] = PROMPTS
    descriptions: tuple[str, ...] = ()
    device: str = "auto"
    runtime: str = "torch"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("coverage", "false_alarm"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise InputError(f"{name} is {value}; it must lie between 0 and 1")
        if self.folds < 2:
            raise InputError(f"folds is {self.folds}; cross-validation needs at least 2")
        if self.select not in SELECT:
            raise InputError(f"select is {self.select!r}; it must be one of {', '.join(SELECT)}")
        for prompt in self.prompts:
            if "{}" not in prompt:
                raise InputError(f"the prompt {prompt!r} has no {{}} where the class name goes")


@dataclass(frozen=True)
class Parts:
    """Who learns, who waits to be judged, and who has no label.

    Attributes:
        train: Labelled rows to learn from; cross-validation stays inside them.
        held: Labelled rows that are scored once, at the end; may be empty.
        unlabelled: Rows without a label.
        strange: Held-out rows of kinds that have no training image.
        held_name: "test" or "val".
        classes: The names to answer with.
    """

    train: tuple[Row, ...]
    held: tuple[Row, ...]
    unlabelled: tuple[Row, ...]
    strange: tuple[Row, ...]
    held_name: str
    classes: tuple[str, ...]

    def labels(self, rows: tuple[Row, ...]) -> Labels:
        """Class indices of `rows`, -1 for no label."""
        at = {name: i for i, name in enumerate(self.classes)}
        return np.array([at[r.label] if r.label is not None else -1 for r in rows], np.int64)

    def counts(self, rows: tuple[Row, ...]) -> list[int]:
        """How many of `rows` each class has."""
        n = Counter(row.label for row in rows)
        return [n[name] for name in self.classes]


def divide(images: Images, plan: Plan) -> Parts:
    """Decide which images learn and which are held out.

    A test part is held out; without one, a val part is; a val part beside a test part learns.

    Raises:
        NoImages: No file could be used.
        NoLabels: Nothing says what any image shows.
        InputError: There is only one class.
    """
    images.some()
    splits = {row.split for row in images.used if row.label is not None}
    held_name = "test" if "test" in splits else "val"
    known = [row for row in images.used if row.label is not None]
    train = tuple(row for row in known if row.split != held_name)
    held = [row for row in known if row.split == held_name]
    classes = tuple(sorted({str(row.label) for row in train} | set(plan.classes)))
    _check(images, train, classes)
    return Parts(
        train,
        tuple(row for row in held if row.label in classes),
        tuple(row for row in images.used if row.label is None),
        tuple(row for row in held if row.label not in classes),
        held_name,
        classes,
    )


def _check(images: Images, train: tuple[Row, ...], classes: tuple[str, ...]) -> None:
    if not classes:
        raise NoLabels(
            f"{len(images.used)} images and not one label to learn from; put them in a folder a "
            "class, or choose among names without labels (zero-shot): "
            "--classes cat,dog --encoder clip/NAME"
        )
    if len(classes) == 1:
        raise InputError(
            f"there is only one class to learn, {classes[0]!r} ({len(train)} images); "
            "a classifier needs at least two; to tell what is unlike it: "
            "ilk normal DIR --out detector"
        )


def fingerprint(images: Images) -> str:
    """SHA-256 over the contents, labels and splits of all used images, in any order."""
    rows = sorted((row.digest, row.label or "", row.split) for row in images.used)
    text = "\n".join("\t".join(row) for row in rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
