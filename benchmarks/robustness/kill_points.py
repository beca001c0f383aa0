"""Kill `ilk` at each step at which it changes the disk, then repeat the command.

A server process imports everything once; each run is a fork of it. An audit hook in the fork counts
the calls that are about to change a watched folder (opening a file to write, renaming, deleting,
making a folder) and ends the process with SIGKILL before the chosen one. Where that is the call
that forces a finished file to the disk, half of the file is cut off first, as after a crash in the
middle of writing. Afterwards another fork runs the same command, and what it leaves must be equal
to what a run without interruption leaves, apart from dates and durations.

    python -m benchmarks.robustness.kill_points FOLDER [STRIDE]
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MAX_POINTS = 1000
BOOKKEEPING = re.compile(r"\.ilk\.(lock|holder)")  # not part of a result
VOLATILE_KEYS = re.compile(r"second|date|digest|sha256|created|created_at|command|source|notes")
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CREATE_FLAGS = os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Case:
    """A command, and the folder that it changes.

    Attributes:
        name: What results call it.
        args: The command line after `ilk`.
        out: The folder that the command changes.
        before: A folder with the state before the command; None for a folder that does not exist.
        repeat_codes: Exit codes that a repetition may have. `ilk add` refuses a class that it has
            added already, and the folder is then as it should be.
    """

    name: str
    args: tuple[str, ...]
    out: Path
    before: Path | None = None
    repeat_codes: tuple[int, ...] = (0,)


@dataclass
class CaseResult:
    """What the kills of one command did.

    Attributes:
        name: The command.
        points: Number of steps at which it can be killed.
        killed: At how many of them it was killed and repeated.
        failures: What was not as after a run without interruption, one sentence each.
    """

    name: str
    points: int = 0
    killed: int = 0
    failures: list[str] = field(default_factory=list)


def run_case(case: Case, stride: int = 1, first: int = 0) -> CaseResult:
    """Kill a command at every `stride`-th step from `first` on, and repeat it each time."""
    result = CaseResult(case.name)
    _restore(case)
    code, said = run_fork(case.args, case.out, None)
    expected = read_state(case.out)
    if code:
        result.failures.append(f"without interruption: exit code {code}: {said}")
        return result
    for point in range(MAX_POINTS):
        if (point - first) % stride and result.points:
            continue
        _restore(case)
        code, said = run_fork(case.args, case.out, point)
        if code == 0:  # it has fewer steps
            result.points = point
            break
        if code != -signal.SIGKILL:
            result.failures.append(f"step {point}: exit code {code} before the kill: {said}")
            continue
        result.points, result.killed = point + 1, result.killed + 1
        code, said = run_fork(case.args, case.out, None)
        if code not in case.repeat_codes:
            result.failures.append(f"step {point}: the repetition ends with {code}: {said}")
        if difference := compare(expected, read_state(case.out)):
            result.failures.append(f"step {point}: {difference}")
    return result


def _restore(case: Case) -> None:
    shutil.rmtree(case.out, ignore_errors=True)
    if case.before is not None:
        shutil.copytree(case.before, case.out)


def run_fork(args: tuple[str, ...], watched: Path, kill_at: int | None) -> tuple[int, str]:
    """Run one command line in a fork, and return its exit code and what it printed.

    Args:
        args: The command line after `ilk`.
        watched: The folder whose changes count.
        kill_at: Number of the change before which the process is killed, from 0; None for none.

    Returns:
        The exit code, negative for a signal, and the end of the output.
    """
    log = watched.with_name(f"{watched.name}.log")
    child = os.fork()
    if child == 0:
        code = 99
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            if kill_at is not None:
                sys.addaudithook(make_killer(watched, kill_at))
            from ilk.cli import run

            code = run(list(args))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")[-400:]


def make_killer(watched: Path, kill_at: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that kills the process before a change of the watched folder."""
    root, n_left = os.path.abspath(watched), kill_at

    def is_watched(path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        absolute = os.path.abspath(os.fsdecode(path))
        return absolute == root or absolute.startswith(root + os.sep)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal n_left
        is_open = event == "open"
        if is_open:
            if not (isinstance(args[2], int) and args[2] & WRITE_FLAGS):
                return
        elif event not in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            return
        if not (is_watched(args[0]) or (event == "os.rename" and is_watched(args[1]))):
            return
        if n_left == 0:
            n_left = -1
            if is_open and not args[2] & CREATE_FLAGS and os.path.isfile(args[0]):
                os.truncate(args[0], os.path.getsize(args[0]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        if n_left > 0:
            n_left -= 1

    return hook


def read_state(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by name, with dates and durations blanked out."""
    return {
        path.relative_to(folder).as_posix(): _normalize(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not BOOKKEEPING.fullmatch(path.name)
    }


def _normalize(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".html":
        return re.sub(rb"[0-9.,: ]+", b"#", content)
    if path.suffix in (".json", ".jsonl"):
        values = (
            [json.loads(line) for line in content.splitlines()]
            if (path.suffix == ".jsonl")
            else json.loads(content)
        )
        return json.dumps(_drop_volatile(values), sort_keys=True).encode()
    return content


def _drop_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _drop_volatile(item)
            for key, item in value.items()
            if not VOLATILE_KEYS.search(key)
        }
    return [_drop_volatile(item) for item in value] if isinstance(value, list) else value


def compare(expected: Mapping[str, bytes], found: Mapping[str, bytes]) -> str:
    """Return how two states differ, or ""."""
    if missing := sorted(expected.keys() - found.keys()):
        return f"{', '.join(missing)} missing"
    if left := sorted(found.keys() - expected.keys()):
        return f"{', '.join(left)} left over"
    if other := [name for name in expected if expected[name] != found[name]]:
        return f"{', '.join(other)} not as without interruption"
    return ""


def make_cases(home: Path) -> list[Case]:
    """Make small images and models in `home`, and return the commands to kill."""
    encoder = ("--encoder", "pixels/6x6x3", "--resize", "squash", "--views", "1")
    small = ("--method", "GDA", "--folds", "2")
    make_images(home / "photos", ("disc", "bar"), 24)
    make_images(home / "new", ("cross",), 24)
    make_images(home / "mixed", ("cross", "ring"), 12)
    models = {
        "model": ("fit", home / "photos", *encoder, *small),
        "other": ("fit", home / "photos", *encoder, "--method", "Ridge", "--folds", "2"),
    }
    for name, args in models.items():
        code, said = run_fork((*map(str, args), "--out", str(home / name)), home / name, None)
        if code:
            raise RuntimeError(f"{name}: {said}")
    out, model = home / "out", home / "model"
    adding = ("--class-images", "cross", home / "new" / "cross", "--force")
    detect = ("--encoder", "pixels/6x6x3", "--resize", "squash")
    tiny = ("--updates", 3, "--width", 8, "--image-size", 8, "--batch-size", 8)
    commands: list[tuple[str, tuple[object, ...], Path | None, tuple[int, ...]]] = [
        ("fit", ("fit", home / "photos", *encoder, *small, "--out", out), None, (0,)),
        ("refit", ("fit", home / "photos", *encoder, *small, "--out", out), home / "other", (0,)),
        ("add", ("add", out, *adding), model, (0, 2)),
        ("adapt", ("adapt", model, home / "photos" / "bar", "--force", "--out", out), None, (0,)),
        ("discover", ("discover", model, home / "mixed", "--groups", 2, "--out", out), None, (0,)),
        ("detect fit", ("detect", "fit", home / "photos", *detect, "--out", out), None, (0,)),
        ("pretrain", ("pretrain", home / "photos", *tiny, "--folds", 2, "--out", out), None, (0,)),
    ]
    return [
        Case(name, tuple(map(str, args)), out, before, codes)
        for name, args, before, codes in commands
    ]


def make_images(folder: Path, classes: tuple[str, ...], n: int) -> None:
    """Write `n` images of 8 x 8 pixels per class: each class has its own colour, plus noise."""
    import numpy as np
    from PIL import Image

    for c, name in enumerate(classes):
        rng = np.random.default_rng([c, len(classes), n])
        centre = np.random.default_rng(sum(map(ord, name))).integers(30, 220, 3)
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = np.clip(centre + rng.normal(0, 12, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")


def serve(home: Path, stride: int, names: tuple[str, ...] = ()) -> list[CaseResult]:
    """Run the cases of `names`, or all, in this process, which must have started no thread."""
    import ilk.cli.adapt
    import ilk.cli.add
    import ilk.cli.detect
    import ilk.cli.discover
    import ilk.cli.fit
    import ilk.cli.pretrain  # noqa: F401

    preload()
    os.environ["ILK_STORE"] = str(home / "store" / "store.sqlite")
    return [
        run_case(case, stride, first=i % stride)
        for i, case in enumerate(make_cases(home))
        if not names or case.name in names
    ]


def preload() -> None:
    """Import what the commands import late, so that each fork starts fast."""
    import filelock  # noqa: F401
    import rich.table  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import torch

    import ilk.artifacts.loading
    import ilk.diffusion.pretraining.cross_fitting
    import ilk.fitting.fit
    import ilk.updates.suggestions  # noqa: F401

    torch.set_num_threads(1)


if __name__ == "__main__":
    folder, stride_text, *chosen = [*sys.argv[1:], "1"] if len(sys.argv) == 2 else sys.argv[1:]
    results = serve(Path(folder), int(stride_text), tuple(chosen))
    print(json.dumps([asdict(result) for result in results], indent=1))
