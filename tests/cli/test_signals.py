"""Signals end a command in order: one sentence, the shell's exit code, and no lock left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from ilk.cli.signals import SignalHandler
from ilk.core.folder_transaction import lock_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
SENTENCE = "Finished work is saved; run the same command again to resume."
# A command of which every batch of images takes a while; it says when the first one is at work.
SLOW = """
import sys, time
from ilk.encode import fill_store
from ilk.cli import main
work = fill_store.encode_task
def slow(task):
    print("at work", flush=True)
    time.sleep(0.2)
    return work(task)
fill_store.encode_task = slow
main()
"""
# A command that is in a long call of a library, during which Python handles no signal.
BUSY = """
import hashlib, sys
from ilk.cli import main
import ilk.cli.methods
def busy():
    print("at work", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
ilk.cli.methods.command.callback = lambda **_: busy()
main()
"""
CALLBACK = """
import gc, os, signal, sys, time
from ilk.cli import main
import ilk.cli.methods
class Callback:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
def collect():
    Callback()
    time.sleep(30)
ilk.cli.methods.command.callback = lambda **_: collect()
main()
"""


@pytest.fixture
def photos(tmp_path):
    for name in ("dark", "light"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(60):
            rng = np.random.default_rng([i, len(name)])
            pixels = rng.integers(0, 90, (9, 9, 3), np.uint8) + 120 * (name == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def start(code, *args, store):
    started = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ILK_STORE": str(store)},
    )
    while (line := started.stdout.readline()) and line != "at work\n":
        pass
    assert line, started.communicate()
    return started


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_command_with_one_sentence(photos, tmp_path, name):
    number = getattr(signal, name)
    encoder = ("--encoder", "pixels/6x6x3", "--method", "GDA", "--folds", "2")
    out = tmp_path / "model"
    running = start(SLOW, "fit", photos, *encoder, "--out", out, store=tmp_path / "s.sqlite")
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    [sentence] = said.split("\n\n")[-1].strip().splitlines()
    assert sentence.startswith("ilk: interrupted")
    assert sentence.endswith(SENTENCE)
    assert (name in sentence) == (name != "SIGINT")
    assert not out.exists()  # nothing was written, and the lock is gone
    with lock_folder(out):
        pass


def test_the_second_signal_ends_a_long_call_at_once():
    with start(BUSY, "methods", store="unused") as running:
        time.sleep(0.5)  # until it is in the call
        running.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in said


def test_a_signal_in_a_callback_is_not_lost():
    run = subprocess.run(
        [sys.executable, "-c", CALLBACK, "methods"], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 143
    assert "Exception ignored" not in run.stderr
    assert run.stderr.strip().endswith(SENTENCE)


def test_an_ignored_signal_stays_ignored(monkeypatch):
    """As under nohup, whose point is that a closed terminal does not end the command."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in ("SIGINT", "SIGTERM")}
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handler = SignalHandler()
        handler.install()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == handler.handle
        handler.uninstall()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGHUP, hang_up)
        for name, action in before.items():
            signal.signal(getattr(signal, name), action)


def test_an_interruption_while_python_starts_prints_no_traceback():
    code = (
        "import os, signal, sys, runpy\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "runpy.run_module('ilk', run_name='__main__')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (-signal.SIGINT, "")
