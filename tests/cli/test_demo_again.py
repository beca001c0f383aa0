"""A demo whose writing was cut off is written again, and no other folder is taken for one."""

from pathlib import Path

import pytest

from ilk import demo
from ilk.core.errors import OutputError


class Killed(BaseException):
    """Not an error that anyone handles, as a kill is not."""


def read(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("step", "call"), [("_write_digits", 1), ("_write_outliers", 1), ("write_atomically", 2)]
)
def test_a_demo_that_was_cut_off_is_written_again(tmp_path, monkeypatch, step, call):
    monkeypatch.setattr(demo, "_write_digits", lambda folder, *_: write_small(folder))
    demo.make_demo(tmp_path / "demo")
    whole = read(tmp_path / "demo")
    (tmp_path / "demo" / "digits" / "stale.png").write_bytes(b"of an earlier version")
    function, calls = getattr(demo, step), []

    def stop(*args):
        calls.append(args)
        if len(calls) == call:
            raise Killed
        function(*args)

    with monkeypatch.context() as patch:
        patch.setattr(demo, step, stop)
        with pytest.raises(Killed):
            demo.make_demo(tmp_path / "demo")
    demo.make_demo(tmp_path / "demo")
    assert read(tmp_path / "demo") == whole


def write_small(folder: Path) -> demo.PlantedFaults:
    folder.mkdir()
    (folder / "0.png").write_bytes(b"a digit")
    return demo.PlantedFaults({}, [], [], [], 1)


def test_other_files_are_kept(tmp_path):
    (tmp_path / "thesis.pdf").write_bytes(b"years of work")
    with pytest.raises(OutputError, match="contains other files"):
        demo.make_demo(tmp_path)
    assert list(read(tmp_path)) == ["thesis.pdf"]
