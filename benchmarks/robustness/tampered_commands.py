"""Run commands on tampered model folders: whatever was edited, no command shows a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.commands import INTERNAL_ERROR, Outcome, call, count_codes, spawn
from benchmarks.robustness.inputs import write_folder
from benchmarks.robustness.mutations import (
    DELETED,
    WRONG_VALUES,
    damage,
    dump,
    edit,
    is_wrong,
    list_places,
    read_place,
)
from benchmarks.robustness.saved_things import SavedThing, sign

SIDE_FILES = ("intake.json", "leaderboard.json", "report.html", "suspects.csv")


def attack_commands(thing: SavedThing, work: Path, n: int, n_processes: int) -> dict[str, Any]:
    """Run the commands that read a classifier on edited copies of one.

    Half of the edits are of a description that is signed again, with values that may stand there
    and values that cannot; the others are damages of the files beside the model.

    Args:
        thing: A classifier.
        work: Folder for copies.
        n: Number of edits; each is given to one command, in turn.
        n_processes: Number of edits that are also given to a command in a process of its own.

    Returns:
        Number of runs, of tracebacks and of each exit code, and the failures.
    """
    rng = np.random.default_rng(0)
    unknown = write_folder(work / "unknown", 4, {"squares": "dots"}, first=7000)
    same = write_folder(work / "same", 4, first=8000)
    outcomes: list[Outcome] = []
    failures: list[str] = []
    home = work / "edited"
    for i, (what, name, content) in enumerate(_iter_edits(thing, rng, n)):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(thing.folder, home)
        (home / name).write_bytes(content)
        args = _choose_command(i, home, same, unknown, work / "out")
        shutil.rmtree(work / "out", ignore_errors=True)
        runs = [call(*args)]
        if i < n_processes:
            shutil.rmtree(work / "out", ignore_errors=True)
            runs.append(spawn(*args))
        outcomes += runs
        if any(run.has_traceback or run.code in (INTERNAL_ERROR, 1) for run in runs):
            last = " | ".join(runs[-1].err.strip().splitlines()[-3:])
            if runs[0].has_traceback or runs[-1].has_traceback:
                failures.append(f"{args[0]}: {what}: {last}")
    return {
        "runs": len(outcomes),
        "tracebacks": sum(o.has_traceback for o in outcomes),
        "exit codes": count_codes(outcomes),
        "failures": failures[:20],
    }


def _choose_command(
    i: int, home: Path, same: Path, unknown: Path, out: Path
) -> tuple[str | Path, ...]:
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("predict", home, same),
        ("evaluate", home, same),
        ("adapt", home, same, "--out", out, "--force"),
        ("add", home, unknown, "--out", out, "--force"),
        ("discover", home, unknown, "--out", out),
        ("predict", home, same, "--json"),
    )
    return commands[i % len(commands)]


def _iter_edits(
    thing: SavedThing, rng: np.random.Generator, n: int
) -> Iterator[tuple[str, str, bytes]]:
    description = json.loads((thing.folder / thing.description).read_bytes())
    places = [path for path in list_places(description) if path[0] not in ("digest", "weights")]
    sides = [name for name in SIDE_FILES if (thing.folder / name).exists()]
    for i in range(n):
        if i % 4 == 3:
            name = sides[int(rng.integers(len(sides)))]
            what, content = damage((thing.folder / name).read_bytes(), rng)
            yield f"{name}, {what}", name, content
            continue
        if i % 4 == 2 and (thing.folder / "intake.json").exists():
            source, name, signed = (
                json.loads((thing.folder / "intake.json").read_bytes()),
                "intake.json",
                False,
            )
            path = list(list_places(source))[int(rng.integers(200))]
        else:
            source, name, signed = description, thing.description, True
            path = places[int(rng.integers(len(places)))]
        value = WRONG_VALUES[int(rng.integers(len(WRONG_VALUES)))]
        if i % 2 and not is_wrong(read_place(source, path), "text"):
            value = "another text"
        if value is DELETED and isinstance(path[-1], int):
            value = None
        edited = edit(source, path, value)
        shown = f"{name}: {'.'.join(map(str, path))} = {str(value)[:30]}"
        yield shown, name, dump(sign(edited) if signed else edited)
