"""Two commands that write one model folder at once: is the result that of one after the other?"""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.commands import Outcome, finish, spawn, start
from benchmarks.robustness.folder_content import (
    Content,
    describe_difference,
    find_leftovers,
    read_content,
)
from benchmarks.robustness.inputs import write_folder

ALLOWED_CODES = (0, 4, 5)
Command = tuple[str, ...]


def measure_writers(work: Path, n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Run pairs of commands at once, `n` rounds in all, on copies of one model folder.

    A round is right if the folder holds exactly what the successful commands leave when they run
    one after the other, in some order: an update that is lost although its command ended with 0
    is a failure. A command that gives way ends with 4 or 5 and one sentence.
    """
    pairs, model = _make_pairs(work)
    rng = np.random.default_rng(seed)
    rows = []
    for i, (name, commands) in enumerate(pairs.items()):
        rounds = n // len(pairs) + (i < n % len(pairs))
        if rounds:
            rows.append(_measure_pair(name, commands, model, work / "rounds", rounds, rng))
    return rows


def _make_pairs(work: Path) -> tuple[dict[str, tuple[Command, Command]], Path]:
    images = write_folder(work / "images", 8)
    fewer = write_folder(work / "fewer", 6, first=400)
    grid = write_folder(work / "grid", 6, {"grid": "dots"}, first=900)
    lines = write_folder(work / "lines", 6, {"lines": "stripe"}, first=1900)
    pixels = ("--encoder", "pixels/8x8x3", "--method", "GDA")
    model = work / "model"
    outcome = spawn("fit", images, *pixels, "--out", model)
    if outcome.code:
        raise AssertionError(outcome.err)
    fit_a: Command = ("fit", str(images), *pixels, "--seed", "1", "--out", "{out}")
    fit_b: Command = ("fit", str(fewer), *pixels, "--out", "{out}")
    add_a: Command = ("add", "{out}", str(grid), "--force", "--allow-known")
    add_b: Command = ("add", "{out}", str(lines), "--force", "--allow-known")
    adapt: Command = ("adapt", "{out}", str(images / "ring"), "--force", "--out", "{out}")
    return {
        "fit, fit": (fit_a, fit_b),
        "add, add": (add_a, add_b),
        "fit, add": (fit_b, add_a),
        "adapt, add": (adapt, add_a),
    }, model


def _measure_pair(
    name: str,
    commands: tuple[Command, Command],
    model: Path,
    work: Path,
    rounds: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    expected = _run_in_turn(commands, model, work)
    codes: list[str] = []
    failures: list[str] = []
    n_tracebacks = n_intact = 0
    for _ in range(rounds):
        out = _copy(model, work)
        processes = []
        for command in rng.permutation(2).tolist():
            processes.append((command, _start(commands[command], out, work)))
            time.sleep(float(rng.uniform(0, 0.15)))
        outcomes = {command: finish(process) for command, process in processes}
        codes += [str(outcome.code) for outcome in outcomes.values()]
        n_tracebacks += sum(outcome.has_traceback for outcome in outcomes.values())
        if problem := _find_problem(outcomes, read_content(out), expected, out):
            failures.append(problem)
        else:
            n_intact += 1
    return {
        "commands": name,
        "rounds": rounds,
        "intact": n_intact,
        "tracebacks": n_tracebacks,
        "exit codes": {code: codes.count(code) for code in sorted(set(codes))},
        "failures": failures[:5],
    }


def _find_problem(
    outcomes: dict[int, Outcome],
    found: Content,
    expected: dict[tuple[int, ...], Content],
    out: Path,
) -> str:
    """Return what is wrong after a round, or ""."""
    for outcome in outcomes.values():
        if outcome.code not in ALLOWED_CODES or outcome.has_traceback:
            return f"exit code {outcome.code}: {outcome.sentence[:300]}"
        said = [line for line in outcome.err.splitlines() if line.startswith("ilk: ")]
        if outcome.code and len(said) != 1:
            return f"{len(said)} sentences with exit code {outcome.code}"
    successful = tuple(sorted(c for c, outcome in outcomes.items() if outcome.code == 0))
    orders = list(itertools.permutations(successful))
    differences = [describe_difference(found, expected[order]) for order in orders]
    if all(differences):
        return f"commands {successful} ended with 0, but the folder is another: {differences[0]}"
    if leftovers := find_leftovers(out):
        return f"left over: {', '.join(leftovers)}"
    return ""


def _run_in_turn(
    commands: tuple[Command, Command], model: Path, work: Path
) -> dict[tuple[int, ...], Content]:
    """Return the content of the folder after no, one or both commands, by their order."""
    results: dict[tuple[int, ...], Content] = {}
    for order in ((), (0,), (1,), (0, 1), (1, 0)):
        out = _copy(model, work)
        for command in order:
            finish(_start(commands[command], out, work))
        results[order] = read_content(out)
    return results


def _copy(model: Path, work: Path) -> Path:
    shutil.rmtree(work / "out", ignore_errors=True)
    return Path(shutil.copytree(model, work / "out"))


def _start(command: Command, out: Path, work: Path) -> Any:
    args = [arg.format(out=out) for arg in command]
    return start(*args, env={"ILK_STORE": str(work / "store.sqlite")})
