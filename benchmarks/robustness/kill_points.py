"""Kill `ilk` at each step at which it changes the disk, then repeat the command.

A server process imports everything once; each run is a fork of it. An audit hook in the fork counts
the calls that are about to change a watched folder (opening a file to write, renaming, deleting,
making a folder) and ends the process with SIGKILL before the chosen one. Where that is the call
that forces a finished file to the disk, half of the file is cut off first, as after a crash in the
middle of writing. Afterwards another fork runs the same command, and what it leaves must be equal
to what a run without interruption leaves, apart from dates and durations.

    python -m benchmarks.robustness.kill_points FOLDER [KILLS|all] [COMMAND ...]
"""

from __future__ import annotations

import json
import mmap
import os
import random
import re
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

BOOKKEEPING = re.compile(r"\.ilk\.(lock|holder)")  # not part of a result
VOLATILE_KEYS = re.compile(r"second|date|digest|sha256|created|created_at|command|source|notes")
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
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


def run_case(case: Case, n_kills: int | None = None, seed: int = 0) -> CaseResult:
    """Kill a command at `n_kills` of its steps, or at each, and repeat it each time.

    The steps are drawn from equal parts of the whole, one from each, with `seed`.
    """
    result = CaseResult(case.name)
    _restore(case)
    code, said, result.points = run_fork(case.args, case.out)
    expected = read_state(case.out)
    if code:
        result.failures.append(f"without interruption: exit code {code}: {said}")
        return result
    for point in draw_points(result.points, n_kills, seed):
        _restore(case)
        code, said, _ = run_fork(case.args, case.out, point)
        if code != -signal.SIGKILL:
            result.failures.append(f"step {point}: exit code {code} before the kill: {said}")
            continue
        result.killed += 1
        code, said, _ = run_fork(case.args, case.out)
        if code not in case.repeat_codes:
            result.failures.append(f"step {point}: the repetition ends with {code}: {said}")
        if difference := compare(expected, read_state(case.out)):
            result.failures.append(f"step {point}: {difference}")
    return result


def draw_points(n_points: int, n_kills: int | None, seed: int) -> list[int]:
    """Return the steps at which to kill, in order."""
    if n_kills is None or n_kills >= n_points:
        return list(range(n_points))
    rng = random.Random(seed)
    edges = [n_points * i // n_kills for i in range(n_kills + 1)]
    return [rng.randrange(first, last) for first, last in pairwise(edges)]


def _restore(case: Case) -> None:
    shutil.rmtree(case.out, ignore_errors=True)
    if case.before is not None:
        shutil.copytree(case.before, case.out)


def run_fork(
    args: tuple[str, ...], watched: Path, kill_at: int | None = None
) -> tuple[int, str, int]:
    """Run one command line in a fork.

    Args:
        args: The command line after `ilk`.
        watched: The folder whose changes count.
        kill_at: Number of the change before which the process is killed, from 0; None for none.

    Returns:
        The exit code, negative for a signal; the end of the output; the number of changes.
    """
    log, counter = watched.with_name(f"{watched.name}.log"), mmap.mmap(-1, 8)
    child = os.fork()
    if child == 0:
        code = 99
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.addaudithook(make_killer(watched, kill_at, counter))
            from ilk.cli import run

            code = run(list(args))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    said = log.read_text(errors="replace")[-400:]
    return os.waitstatus_to_exitcode(status), said, int.from_bytes(counter[:], "little")


def make_killer(
    watched: Path, kill_at: int | None, counter: mmap.mmap
) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that counts changes of a folder, and kills before number `kill_at`."""
    root, lock = os.path.abspath(watched), threading.Lock()

    def is_watched(path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        absolute = os.path.abspath(os.fsdecode(path))
        return absolute == root or absolute.startswith(root + os.sep)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        is_open = event == "open"
        if is_open:
            if not (isinstance(args[2], int) and args[2] & WRITE_FLAGS):
                return
        elif event not in CHANGES:
            return
        if not (is_watched(args[0]) or (event == "os.rename" and is_watched(args[1]))):
            return
        with lock:
            n_seen = int.from_bytes(counter[:], "little")
            counter[:] = (n_seen + 1).to_bytes(8, "little")
        if n_seen == kill_at:
            if is_open and not args[2] & CREATE_FLAGS and os.path.isfile(args[0]):
                os.truncate(args[0], os.path.getsize(args[0]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

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
        code, said, _ = run_fork((*map(str, args), "--out", str(home / name)), home / name)
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


def serve(home: Path, n_kills: int | None = None, names: Sequence[str] = ()) -> list[CaseResult]:
    """Run the cases of `names`, or all, in this process, which must have started no thread.

    Args:
        home: Folder to work in.
        n_kills: Number of kills of each command; None kills it at each step.
        names: Cases to run; empty for all.
    """
    preload()
    os.environ["ILK_STORE"] = str(home / "store" / "store.sqlite")
    return [
        run_case(case, n_kills, seed)
        for seed, case in enumerate(make_cases(home))
        if not names or case.name in names
    ]


def preload() -> None:
    """Import what the commands import late, so that each fork starts fast."""
    import filelock  # noqa: F401
    import rich.table  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import torch

    import ilk.artifacts.loading
    import ilk.cli.adapt
    import ilk.cli.add
    import ilk.cli.detect
    import ilk.cli.discover
    import ilk.cli.fit
    import ilk.cli.pretrain
    import ilk.diffusion.pretraining.cross_fitting
    import ilk.fitting.fit
    import ilk.updates.suggestions  # noqa: F401

    torch.set_num_threads(1)


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    results = serve(Path(folder), int(rest[0]) if rest and rest[0] != "all" else None, rest[1:])
    print(json.dumps([asdict(result) for result in results], indent=1))
