"""Standard output and standard error that are full, closed or broken, in the real process."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ilk.cli import streams
from ilk.cli.streams import GuardedFile

ILK = (sys.executable, "-m", "ilk")
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
N_BLOCKS = 4000  # of 256 bytes: more than fits into a pipe
FIT = ("--encoder", "pixels/6x6x3", "--resize", "squash", "--views", "1", "--method", "GDA")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("streams")
    for name, colour in (("red", 0), ("blue", 2)):
        (home / "photos" / name).mkdir(parents=True)
        for i in range(6):
            rng = np.random.default_rng([i, colour])
            pixels = rng.integers(0, 90, (9, 9, 3), np.uint8)
            pixels[..., colour] += 120
            Image.fromarray(pixels).save(home / "photos" / name / f"{i}.png")
    run = subprocess.run(
        [*ILK, "fit", str(home / "photos"), *FIT, "--folds", "2", "--out", str(home / "model")],
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return home


def fit(home, out):
    return ("fit", str(home / "photos"), *FIT, "--folds", "2", "--out", str(out))


def light_commands(home):
    return [
        ("--help",),
        ("methods", "--json"),
        ("predict", str(home / "model"), str(home / "photos")),
        ("predict", str(home / "model"), str(home / "photos"), "--json"),
    ]


@needs_full
@pytest.mark.parametrize("number", range(4))
def test_a_full_output_is_told_and_ends_with_5(home, number):
    args = light_commands(home)[number]
    with FULL.open("w") as full:
        run = subprocess.run([*ILK, *args], stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 5
    last = run.stderr.splitlines()[-1]
    assert last.startswith("ilk: cannot write to standard output: No space left on device")
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr


@needs_full
def test_a_full_output_does_not_lose_the_model(home, tmp_path):
    with FULL.open("w") as full:
        run = subprocess.run([*ILK, *fit(home, tmp_path / "m")], stdout=full, stderr=full)
    assert run.returncode == 5
    assert (tmp_path / "m" / "model.json").exists()


@pytest.mark.parametrize("json_option", [(), ("--json",)])
def test_a_reader_that_leaves_does_not_stop_the_work(home, tmp_path, json_option):
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        [*ILK, *fit(home, tmp_path / "m"), *json_option],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "m" / "model.json").exists()


@pytest.mark.parametrize("number", range(4))
def test_a_reader_that_leaves_is_no_error(home, number):
    reader, writer = os.pipe()
    os.close(reader)
    args = light_commands(home)[number]
    run = subprocess.run([*ILK, *args], stdout=writer, stderr=writer)
    os.close(writer)
    assert run.returncode == 0


def test_head_gets_its_lines(home):
    run = subprocess.run(
        f'"{sys.executable}" -m ilk predict model photos | head -2; echo "${{PIPESTATUS[0]}}"',
        shell=True,
        executable="/bin/bash",
        cwd=home,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    head, first, code = run.stdout.splitlines()
    assert head.startswith("path,name,")
    assert first.startswith("photos/blue/0.png,blue,")
    assert (code, run.stderr) == ("0", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error_and_no_file_takes_their_place(home, tmp_path, closed):
    command = " ".join(f'"{word}"' for word in (*ILK, *fit(home, tmp_path / "m")))
    run = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True)
    assert run.returncode == 0
    assert "Traceback" not in run.stdout + run.stderr
    assert json.loads((tmp_path / "m" / "model.json").read_text())["format"] == "ilk classifier"


def test_errors_that_cannot_be_printed_keep_their_exit_code():
    run = subprocess.run(f'"{sys.executable}" -m ilk nonsense 2>&-', shell=True)
    assert run.returncode == 2


def test_rows_that_go_nowhere_are_not_computed(monkeypatch):
    file = GuardedFile(-1)  # a closed descriptor: the first write fails
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(file)))
    computed = []

    def rows():
        for i in range(100):
            computed.append(i)
            yield i

    for row in streams.until_lost(rows()):
        print(row, flush=row == 3)
    assert len(computed) == 4
    assert re.search("Bad file descriptor", streams.describe_loss(file))


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_everything():
    """Some programs leave their pipes in non-blocking mode, where a write may fail for a moment."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    code = f"import sys; sys.exit(sys.stdin.buffer.read() != bytes(range(256)) * {N_BLOCKS})"
    with subprocess.Popen([sys.executable, "-c", code], stdin=reader) as child:
        os.close(reader)
        stream = io.BufferedWriter(GuardedFile(writer))
        stream.write(bytes(range(256)) * N_BLOCKS)
        stream.flush()
        os.close(writer)
        assert child.wait(30) == 0
