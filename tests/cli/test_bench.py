"""`ilk bench` in a checkout, and where there is none."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ilk.cli import bench, run

RUNNER = """
from pathlib import Path

HERE = Path(__file__).parent


def list_benchmarks():
    return ["tiny"]


def read_question(name):
    return "How small can it be?\\n\\nDetails."


def run_benchmark(name, path, *, small=False):
    return {"name": name, "small": small, "path": str(path), "result": {"accuracy": 0.5}}
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, with the package installed outside any checkout."""

    def drop_modules() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]
        return {name: sys.modules.pop(name) for name in names}

    elsewhere = tmp_path / "site-packages" / "ilk" / "cli" / "bench.py"
    monkeypatch.setattr(bench, "__file__", str(elsewhere))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    modules = drop_modules()
    yield tmp_path
    drop_modules()
    sys.modules.update(modules)


@pytest.fixture
def checkout(outside: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one benchmark, which is the working directory."""
    folder = outside / "checkout" / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "runner.py").write_text(RUNNER)
    monkeypatch.chdir(folder.parent)
    return folder.parent


@pytest.mark.usefixtures("outside")
def test_without_a_checkout_the_command_says_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for args in ([], ["digits", "--small"]):
        assert run(["bench", *args]) == 3
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "inside a checkout of the repository" in captured.err
        assert captured.err.count("\n") == 1


@pytest.mark.usefixtures("checkout")
def test_the_working_directory_may_be_the_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench"]) == 0
    out = capsys.readouterr().out
    assert "tiny" in out
    assert "How small can it be?" in out
    assert "Details" not in out
    assert run(["bench", "tiny", "--small"]) == 0
    assert json.loads(capsys.readouterr().out) == {"accuracy": 0.5}


def test_json_lists_benchmarks_and_gives_the_whole_record(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert listing == [{"benchmark": "tiny", "question": "How small can it be?"}]
    assert run(["bench", "tiny", "--json", "--out", "result.json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["small"] is False
    assert record["path"] == "result.json"
    assert run(["bench", "tiny", "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["path"])
    assert path == checkout / "benchmarks" / "results" / "tiny.json"


def test_this_checkout_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["bench", "--json"]) == 0
    names = {entry["benchmark"] for entry in json.loads(capsys.readouterr().out)}
    assert {"digits", "which_encoder"} <= names


@pytest.mark.usefixtures("checkout")
def test_a_missed_bar_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {"result": {"bars missed": ["two writers: a lost update"]}}
    runner = bench.load_runner()
    monkeypatch.setattr(runner, "run_benchmark", lambda _name, _path, **_options: record)
    assert run(["bench", "tiny"]) == 1
    assert capsys.readouterr().err == "ilk: missed: two writers: a lost update\n"
