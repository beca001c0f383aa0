"""A command that was killed at any step goes on when it is repeated, and leaves the same files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.robustness.kill_points import compare, draw_points
from ilk.core.errors import OutputError
from ilk.core.folder_transaction import HOLDER_FILE, lock_folder

ROOT = Path(__file__).parents[2]
COMMANDS = ["fit", "refit", "add", "adapt", "discover", "detect fit", "pretrain"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_repetition_goes_on_from_any_kill(tmp_path):
    """Two of the steps of each command; `ilk bench robustness` kills at more of them."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.robustness.kill_points", str(tmp_path), "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    )
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    assert [result["name"] for result in results] == COMMANDS
    for result in results:
        assert result["failures"] == []
        assert result["killed"] == 2
        assert result["points"] > 20


def test_points_are_spread_over_all_steps():
    assert draw_points(7, None, 0) == draw_points(7, 9, 0) == list(range(7))
    for seed in range(5):
        first, second, third = draw_points(9, 3, seed)
        assert 0 <= first < 3 <= second < 6 <= third < 9


def test_differences_are_told():
    state = {"a": b"1", "b": b"2"}
    assert compare(state, state) == ""
    assert compare(state, {"a": b"1"}) == "b missing"
    assert compare(state, {**state, "c": b""}) == "c left over"
    assert compare(state, {**state, "a": b"3"}) == "a not as without interruption"


def test_the_loser_of_two_commands_is_told_who_writes(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from ilk.core.folder_transaction import *\n"
        "with lock_folder(Path(sys.argv[1]), holder='process 7 on there: ilk \\x1b[2Jfit'):\n"
        " print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline().strip() == b"held"
        with (
            pytest.raises(OutputError, match=r"process 7 on there: ilk  \[2Jfit"),
            lock_folder(tmp_path),
        ):
            pass
        other.kill()
    assert (tmp_path / HOLDER_FILE).exists()
    with lock_folder(tmp_path):
        assert not (tmp_path / HOLDER_FILE).exists()
