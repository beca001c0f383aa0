"""Situations of streams, signals, terminals and cells of tables."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.robustness.commands import Outcome, call, call_on_terminal, finish, start
from benchmarks.robustness.inputs import draw_picture, write_folder
from benchmarks.robustness.situations import Desk, Situation, answer

STREAMS, SAFE_TEXT = "streams and signals", "names in terminals and tables"


def _shell(command: str, desk: Desk) -> Outcome:
    """Run a shell command in which `$ILK` is ilk, `$MODEL` a model and `$IMAGES` images."""
    env = {
        **os.environ,
        "ILK": f"{sys.executable} -m ilk",
        "MODEL": str(desk.model),
        "IMAGES": str(desk.images),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        env=env,
        cwd=desk.root,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def _full_disk(desk: Desk) -> Outcome:
    return _shell("$ILK predict $MODEL $IMAGES > /dev/full", desk)


def _full_errors(desk: Desk) -> Outcome:
    return _shell("$ILK predict $MODEL nothing.png 2> /dev/full", desk)


def _head(desk: Desk) -> Outcome:
    shutil.copytree(desk.images, desk.root / "images")
    command = "$ILK fit images --encoder pixels/8x8x3 --method GDA --out out | head -1"
    outcome = _shell(command, desk)
    written = (desk.root / "out" / "model.json").exists()
    return Outcome(outcome.code, f"the model is {'' if written else 'not '}written", outcome.err)


def _closed(desk: Desk) -> Outcome:
    return _shell("$ILK check $IMAGES >&-", desk)


def _closed_errors(desk: Desk) -> Outcome:
    return _shell("$ILK check $IMAGES 2>&-", desk)


def _stop(number: signal.Signals, desk: Desk) -> Outcome:
    folder = write_folder(desk.root / "many", 3_000)
    # A signal that this process ignores, as one started in the background may, is inherited so.
    previous = signal.signal(number, lambda *_: None)
    try:
        process = start("check", folder, env={"ILK_STORE": str(desk.root / "store.sqlite")})
    finally:
        signal.signal(number, previous)
    time.sleep(0.6)
    process.send_signal(number)
    return finish(process)


def _terminate(desk: Desk) -> Outcome:
    return _stop(signal.SIGTERM, desk)


def _interrupt(desk: Desk) -> Outcome:
    return _stop(signal.SIGINT, desk)


def _pipe_for_ever(desk: Desk) -> Outcome:
    folder = write_folder(desk.root / "photos", 2)
    os.mkfifo(folder / "ring" / "pipe.png")
    return call("check", folder)


def _count_escapes(outcome: Outcome) -> Outcome:
    text = outcome.out + outcome.err
    n = len(re.findall("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text))
    return Outcome(
        outcome.code, f"{n} control characters", outcome.err if "\x1b" not in text else ""
    )


def _escape_name(desk: Desk) -> Path:
    path = desk.root / "photos" / "\x1b[31mred\x07.png"
    path.parent.mkdir()
    draw_picture("ring", 1).save(path)
    return path


def _escapes_in_rows(desk: Desk) -> Outcome:
    return _count_escapes(call_on_terminal("predict", desk.model, _escape_name(desk)))


def _escapes_in_errors(desk: Desk) -> Outcome:
    return _count_escapes(call("predict", desk.model, f"{_escape_name(desk)}gone.png"))


def _escapes_in_classes(desk: Desk) -> Outcome:
    names = {"\x1b[2Jring": "ring", "stripe": "stripe"}
    folder = write_folder(desk.root / "photos", 5, names)
    fast = ("--encoder", "pixels/8x8x3", "--method", "GDA")
    return _count_escapes(call("fit", folder, *fast, "--out", desk.root / "out"))


def _formula(*options: str) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        folder = desk.root / "photos"
        folder.mkdir()
        draw_picture("ring", 1).save(folder / "=1+1.png")
        out = desk.root / "rows.csv"
        store = {"ILK_STORE": str(desk.root / "store.sqlite")}
        args = ("predict", str(desk.model), "=1+1.png", "--out", str(out), *options)
        outcome = finish(start(*args, cwd=folder, env=store))
        if outcome.code:
            return outcome
        with out.open(newline="", encoding="utf-8") as file:
            return answer(f"cell: {next(csv.DictReader(file))['path']!r}")

    return run


def _bar_in_class(desk: Desk) -> Outcome:
    folder = write_folder(desk.root / "photos", 8, {"a|b": "ring", "a": "stripe", "b": "dots"})
    model, rows = desk.root / "out", desk.root / "rows.csv"
    fitted = call("fit", folder, "--encoder", "pixels/8x8x3", "--method", "GDA", "--out", model)
    if fitted.code:
        return fitted
    call("predict", model, folder, "--out", rows)
    known = {"a|b", "a", "b"}
    with rows.open(newline="", encoding="utf-8") as file:
        sets = {row["set"] for row in csv.DictReader(file)}
    for text in sets:
        for name in _split_set(text):
            if name not in known:
                return answer(f"the set {text!r} cannot be split", 1)
    return answer("every set can be split again")


def _split_set(text: str) -> list[str]:
    """Split a cell of the column `set`, as its documentation says: JSON, or `|` with escapes."""
    if text.startswith("["):
        return [str(name) for name in json.loads(text)]
    parts = re.split(r"(?<!\\)\|", text)
    return [part.replace("\\|", "|").replace("\\\\", "\\") for part in parts if part]


SITUATIONS = (
    Situation(STREAMS, "ilk predict > /dev/full", _full_disk, (5,), "space|full", is_slow=True),
    Situation(STREAMS, "ilk predict 2> /dev/full", _full_errors, (1, 2, 5), is_slow=True),
    Situation(STREAMS, "ilk fit | head -1", _head, (0,), "the model is written", is_slow=True),
    Situation(STREAMS, "ilk check with a closed output", _closed, (0, 5), is_slow=True),
    Situation(STREAMS, "ilk check with closed errors", _closed_errors, (0, 5), is_slow=True),
    Situation(STREAMS, "SIGINT to ilk check", _interrupt, (130,), "interrupted", is_slow=True),
    Situation(
        STREAMS,
        "SIGTERM to ilk check",
        _terminate,
        (143, 130),
        "interrupted|stopped|terminated",
        is_slow=True,
    ),
    Situation(
        STREAMS, "a named pipe among the images: ilk check", _pipe_for_ever, (1,), "regular file"
    ),
    Situation(
        SAFE_TEXT,
        "terminal escapes in a file name: ilk predict",
        _escapes_in_rows,
        (0,),
        "0 control",
    ),
    Situation(
        SAFE_TEXT, "the same in a sentence of an error", _escapes_in_errors, (1, 2), "0 control"
    ),
    Situation(
        SAFE_TEXT,
        "terminal escapes in a class name: ilk fit",
        _escapes_in_classes,
        (0, 2),
        "0 control",
    ),
    Situation(
        SAFE_TEXT,
        "a file name that begins with =: ilk predict --out x.csv --csv-safe",
        _formula("--csv-safe"),
        (0,),
        r"cell: [\"']'=",
    ),
    Situation(
        SAFE_TEXT, "the same with --no-csv-safe", _formula("--no-csv-safe"), (0,), "cell: '=1"
    ),
    Situation(
        SAFE_TEXT, "classes a|b, a and b: the column set", _bar_in_class, (0,), "can be split"
    ),
)
