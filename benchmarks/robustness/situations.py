"""The situations of public bug reports: each as a small input, with what ilk says to it."""

from __future__ import annotations

import re
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.robustness.commands import INTERNAL_ERROR, Outcome, call
from benchmarks.robustness.inputs import write_folder

MODULES = (
    "losses",
    "groups_and_splits",
    "labels_and_values",
    "python_inputs",
    "streams",
    "sources",
)
MAX_SHOWN = 260  # characters of what ilk says, in the table


@dataclass(frozen=True)
class Desk:
    """Where a situation happens.

    Attributes:
        root: An empty folder.
        model: A classifier of pictures of three shapes; copy it before a change.
        images: The pictures that it was fitted on.
    """

    root: Path
    model: Path
    images: Path

    def copy_model(self) -> Path:
        """Return a copy of the model that may be changed."""
        return Path(shutil.copytree(self.model, self.root / "model"))


@dataclass(frozen=True)
class Situation:
    """A situation and what is expected of ilk.

    Attributes:
        part: What kind of fault it was, such as "damaged images".
        what: What the user has and does.
        run: Makes the input and does it.
        codes: Exit codes that are right.
        says: Regular expression that what is said must contain.
        never: Regular expression that it must not contain.
        is_slow: Whether it takes more than about two seconds.
    """

    part: str
    what: str
    run: Callable[[Desk], Outcome]
    codes: tuple[int, ...]
    says: str = ""
    never: str = ""
    is_slow: bool = False


def answer(text: object, code: int = 0) -> Outcome:
    """Return an outcome of something other than a command, such as a Python call."""
    return Outcome(code, f"{text}\n", "")


def measure_situations(work: Path, small: bool) -> list[dict[str, Any]]:
    """Run all situations (`small`: those that are not slow) and return a row for each."""
    images = write_folder(work / "images", 8)
    model = work / "model"
    made = call("fit", images, "--encoder", "pixels/8x8x3", "--method", "GDA", "--out", model)
    if made.code:
        raise AssertionError(made.err)
    rows = []
    for situation in list_situations():
        if small and situation.is_slow:
            continue
        root = work / "desk"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        try:
            rows.append(_try(situation, Desk(root, model, images)))
        except ModuleNotFoundError:
            continue  # a package that the situation is about, such as pandas, is not installed
    return rows


def list_situations() -> list[Situation]:
    """Return the situations of all modules."""
    return [
        situation
        for name in MODULES
        for situation in import_module(f"benchmarks.robustness.situation_{name}").SITUATIONS
    ]


def _try(situation: Situation, desk: Desk) -> dict[str, Any]:
    try:
        outcome = situation.run(desk)
    except ModuleNotFoundError:
        raise
    except SystemExit as error:
        outcome = Outcome(INTERNAL_ERROR, "", f"SystemExit {error.code}")
    except Exception:
        outcome = Outcome(INTERNAL_ERROR, "", traceback.format_exc())
    said = outcome.err + "\n" + outcome.out
    problems = []
    if outcome.code not in situation.codes:
        problems.append(f"exit code {outcome.code} instead of {situation.codes}")
    if situation.says and not re.search(situation.says, said, re.I | re.S):
        problems.append(f"nothing like {situation.says!r} is said")
    if situation.never and re.search(situation.never, said, re.I):
        problems.append(f"{situation.never!r} is said")
    if outcome.has_traceback:
        problems.append("a traceback")
    return {
        "part": situation.part,
        "situation": situation.what,
        "exit code": outcome.code,
        "ilk says": _shorten(_choose_sentence(outcome, situation.says), desk),
        "right": not problems,
        "problem": "; ".join(problems),
    }


def _choose_sentence(outcome: Outcome, says: str) -> str:
    """Return the line that the expectation is about, or else the last one."""
    lines = [" ".join(x.split()) for x in (outcome.err + "\n" + outcome.out).splitlines()]
    for line in lines:
        if says and line and re.search(says, line, re.I):
            return line
    return outcome.sentence


def _shorten(text: str, desk: Desk) -> str:
    """Return a sentence with short paths, for the table."""
    for path, name in ((desk.root, "."), (desk.model, "MODEL"), (desk.images, "IMAGES")):
        text = text.replace(f"{path}/", "" if name == "." else f"{name}/").replace(str(path), name)
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
