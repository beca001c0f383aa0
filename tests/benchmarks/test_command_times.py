"""The time of commands: they run as a user types them, and their progress is read."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.command_times import clock
from benchmarks.command_times import run as timed
from benchmarks.command_times.answers import ANSWERS
from ilk.cli import COMMANDS, ilk

POPEN = subprocess.Popen
ETA_LINE = "encoding: 1,200 of 5,000, about 31 s left"


@pytest.fixture
def archive(monkeypatch, tmp_path):
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path / "trials"))
    rng = np.random.default_rng(0)

    def iterate(*_parts):
        for split in ("test", "train"):
            for label in ("cat", "dog"):
                for i in range(20):
                    buffer = io.BytesIO()
                    pixels = rng.integers(0, 128, (32, 32, 3)) + 100 * (label == "dog")
                    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
                    yield f"{split}/{label}/{i}.jpg", buffer.getvalue()

    monkeypatch.setattr(timed, "iterate_archive", iterate)


def make_program(monkeypatch, text):
    """Let a short program answer in place of `python -m ilk`."""
    monkeypatch.setattr(
        clock.subprocess,
        "Popen",
        lambda _words, **options: POPEN([sys.executable, "-S", "-c", text], **options),
    )


def test_the_clock_reads_progress_and_processor_time(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_program(
        monkeypatch,
        "import json, os, sys, time\n"
        f"print({ETA_LINE!r}, file=sys.stderr)\n"
        "print('training: 3 of 3 in 12 s', file=sys.stderr)\n"
        "end = time.process_time() + 0.1\n"
        "while time.process_time() < end: pass\n"
        "print(json.dumps([os.environ['ILK_STORE'], os.environ.get('OMP_NUM_THREADS')]))\n",
    )
    found = clock.time_command(["select"], tmp_path / "s")
    assert found.report == [str(tmp_path / "s"), None]
    assert found.steps_with_eta == ("encoding",)
    assert found.refusal == ""
    assert found.seconds >= found.longest_silence >= 0.1
    assert 0.1 <= found.processor_seconds < 5


def test_a_refusal_is_an_answer_and_a_crash_is_none(monkeypatch, tmp_path):
    make_program(
        monkeypatch, "import sys; print('ilk: too much is lost', file=sys.stderr); sys.exit(4)"
    )
    found = clock.time_command(["compress"], tmp_path)
    assert (found.refusal, found.report) == ("too much is lost", {})
    make_program(monkeypatch, "raise ValueError('broken')")
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1.*broken"):
        clock.time_command(["compress"], tmp_path)


def test_training_images_alone_are_written(archive, tmp_path):
    timed.write_images(tmp_path / "photos", 2)
    assert len(list((tmp_path / "photos" / "dog").iterdir())) == 2
    assert len(list((tmp_path / "photos").glob("*/*"))) == 4


def test_the_words_are_those_of_the_commands():
    names = {name.partition(",")[0] for name in timed.WORDS}
    assert names == set(ANSWERS) < set(COMMANDS)
    for name, words in timed.WORDS.items():
        command = ilk.get_command(None, name.partition(",")[0])
        assert command.make_context(name, list(words)).params["out"] == "{out}"


def fake_commands(monkeypatch, slow, refused):
    """Let commands answer at once; return what was called: words, and whether a store was there."""
    calls = []

    def answer(words, store):
        calls.append((words, store.parent.exists()))
        store.parent.mkdir(parents=True, exist_ok=True)
        out = Path(words[words.index("--out") + 1])
        out.mkdir()
        fails = words[0] in refused and (words[0] != "compress" or "one" not in words[1])
        seconds = 700.0 if words[0] in slow else 10.0
        return clock.Timed(seconds, 30.0, ("encoding",), 2.0, {}, "too much" if fails else "")

    monkeypatch.setattr(timed, "time_command", answer)
    monkeypatch.setattr(timed, "ANSWERS", {name: lambda _report: "fine" for name in ANSWERS})
    monkeypatch.setattr(timed.os, "cpu_count", lambda: 2)
    return calls


def test_each_command_runs_once_with_its_own_model(archive, monkeypatch):
    calls = fake_commands(monkeypatch, ("condense",), ("compress",))
    first = json.loads(json.dumps(timed.run(), allow_nan=False))
    named = dict(zip(timed.WORDS, calls, strict=True))
    assert [words[0] for words, _ in calls] == [name.partition(",")[0] for name in timed.WORDS]
    reads = {name for name, (_, has_store) in named.items() if has_store}
    assert reads == {"distill", "compress", timed.COMPRESS_ONE}
    for name in reads:
        assert named[name][0][1] == str(Path(named[timed.FITTED[name]][0][-2]))
    assert named["compress"][0][1] != named[timed.COMPRESS_ONE][0][1]
    assert timed.run() == first
    assert len(calls) == len(timed.WORDS)
    rows = {row["command"]: row for row in first["commands"]}
    assert first["images"] == 40
    assert not first["all_within_limit"]
    assert not rows["condense"]["within_limit"]
    assert rows["distill"]["within_limit"]
    assert rows["distill"]["processor_seconds_per_core"] == 15.0
    assert rows["distill"]["typed"] == "ilk distill model/ photos/ --student cnn-15k --out out/"
    assert (rows["compress"]["answered"], first["answers"]["compress"]) == (False, "too much")
    monkeypatch.setattr(timed, "digest_code", lambda: "another" * 10)
    timed.run()
    assert len(calls) == 2 * len(timed.WORDS)


@pytest.mark.parametrize(
    ("slow", "refused", "expected"),
    [
        (("fit",), (), True),
        ((), ("compress",), True),  # of the ensemble alone
        ((), ("distill",), False),
        (("select",), (), False),
    ],
)
def test_a_refusal_is_no_answer_in_time(archive, monkeypatch, slow, refused, expected):
    fake_commands(monkeypatch, slow, refused)
    assert timed.run()["all_within_limit"] is expected


def test_the_small_run_runs_a_command(archive):
    result = json.loads(json.dumps(timed.run(small=True), allow_nan=False))
    [row] = result["commands"]
    assert (row["command"], row["within_limit"]) == ("select", True)
    assert result["answers"]["select"]["kept"] == 12
