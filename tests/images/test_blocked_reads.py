"""Files that give no answer are refused in time, and never keep a process from ending."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from helpers.noise_images import noise
from ilk.core import blocked_reads, worker_threads
from ilk.core.errors import InputError
from ilk.core.worker_threads import WorkerThreads
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.images.inputs import inspect_inputs
from ilk.store import Store

LIMIT = 0.2
# The real thing: a named pipe that nobody writes to, with the check that refuses it taken away.
PIPE = """
import os, sys
from ilk.core import worker_threads
from ilk.images.decoding import open_file
open_file.stat.S_ISREG = lambda mode: True
worker_threads.POLL_SECONDS = 0.05
from ilk.cli import main
print("at work", flush=True)
main()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of eight images, and a way to let some of them give no answer."""
    monkeypatch.setenv("ILK_READ_SECONDS", str(LIMIT))
    monkeypatch.setattr(worker_threads, "POLL_SECONDS", 0.05)
    (tmp_path / "images").mkdir()
    for i in range(8):
        noise(9, 8, i).save(tmp_path / "images" / f"{i}.png")
    return tmp_path / "images"


@pytest.fixture
def block(monkeypatch):
    """Let the opening of files block until the end of the test."""
    answer, names, opening = threading.Event(), set(), builtins.open

    def slow(path, *args, **options):
        is_path = isinstance(path, str | os.PathLike)
        if is_path and os.path.basename(os.fsdecode(path)) in names:
            answer.wait(30)
        return opening(path, *args, **options)

    monkeypatch.setattr(builtins, "open", slow)
    yield names
    answer.set()
    deadline = time.monotonic() + 5
    while blocked_reads.has_blocked_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not blocked_reads.has_blocked_threads()


def list_inputs(folder):
    return [(str(path), str(path)) for path in sorted(folder.iterdir())]


def test_a_file_without_an_answer_is_refused_and_the_others_are_read(folder, block):
    block.add("3.png")
    start = time.monotonic()
    images = inspect_inputs(list_inputs(folder))
    assert time.monotonic() - start < 5
    assert [row.status for row in images.rows] == ["used"] * 3 + ["refused"] + ["used"] * 4
    [refused] = images.refused
    assert (refused.reason, refused.detail) == ("unreadable", f"no answer in {LIMIT} s")


def test_a_file_that_stops_answering_is_refused_while_it_is_encoded(folder, block, tmp_path):
    images, store = read_images(folder, verify=False), Store(tmp_path / "store.sqlite")
    block.add("5.png")
    encoder = resolve_encoder("pixels/4x4x3")
    failures = encode_images(images, [encoder], store)
    assert list(failures.values()) == [("unreadable", f"no answer in {LIMIT} s")]
    images = images.refuse(failures)
    assert len(store.get(encoder.space, [row.digest for row in images.used])) == 7
    store.close()


def test_a_file_that_answers_again_is_read_again(folder, block):
    block.add("3.png")
    assert len(inspect_inputs(list_inputs(folder)).used) == 7
    block.clear()
    assert len(inspect_inputs(list_inputs(folder)).used) == 7  # still waited for
    blocked_reads._blocked.clear()  # as when the thread that waits gets its answer
    assert len(inspect_inputs(list_inputs(folder)).used) == 8


def test_a_drive_without_an_answer_stops_the_run(folder, block):
    block.update(f"{i}.png" for i in range(8))
    start = time.monotonic()
    with pytest.raises(InputError, match=r"3 files in a row gave no answer in 0\.2 s"):
        inspect_inputs(list_inputs(folder))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_the_limit_must_be_a_number_of_seconds(monkeypatch, text):
    monkeypatch.setenv("ILK_READ_SECONDS", text)
    with pytest.raises(InputError, match="set it to a number of seconds"):
        blocked_reads.get_limit()


def start_pipe(folder, tmp_path, limit):
    os.unlink(folder / "3.png")
    os.mkfifo(folder / "3.png")
    args = ["check", str(folder)]
    environment = {**os.environ, "ILK_READ_SECONDS": str(limit), "ILK_STORE": str(tmp_path / "s")}
    return subprocess.Popen(
        [sys.executable, "-c", PIPE, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_process_ends_though_a_thread_still_waits(folder, tmp_path):
    running = start_pipe(folder, tmp_path, 0.5)
    output, said = running.communicate(timeout=45)
    assert running.returncode == 1
    assert "no answer in 0.5 s" in output
    assert said == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_an_interruption_does_not_wait_for_a_blocked_thread(folder, tmp_path):
    running = start_pipe(folder, tmp_path, 300)
    assert running.stdout.readline() == "at work\n"
    time.sleep(1.5)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said.strip().startswith("ilk: interrupted")


def test_a_pool_hands_on_results_and_errors():
    def fail():
        raise ValueError("no")

    with WorkerThreads(2) as pool:
        tasks = [pool.submit(lambda i=i: i * i) for i in range(50)]
        broken = pool.submit(fail)
        assert [pool.get_result(task) for task in tasks] == [i * i for i in range(50)]
        with pytest.raises(ValueError, match="no"):
            pool.get_result(broken)
    names = [thread.name for thread in threading.enumerate()]
    assert "worker" not in names
