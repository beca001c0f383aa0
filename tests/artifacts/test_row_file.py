"""Rows are on disk as they come; a table is complete or has another name."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ilk.artifacts.row_file import get_part_path, open_rows
from ilk.core.errors import OutputError


def test_rows_are_on_disk_as_they_come_and_the_old_table_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old\n")
    with open_rows(path) as write:
        for i in range(3):
            write(f"{i}\n")
            assert get_part_path(path).read_text() == "".join(f"{j}\n" for j in range(i + 1))
        assert path.read_text() == "old\n"
    assert path.read_text() == "0\n1\n2\n"
    assert not get_part_path(path).exists()


def test_an_interruption_keeps_the_old_table_and_the_rows_so_far(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old\n")

    def interrupt(n: int) -> None:
        with open_rows(path) as write:
            for i in range(n):
                write(f"{i}\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt(2)
    assert (path.read_text(), get_part_path(path).read_text()) == ("old\n", "0\n1\n")
    with pytest.raises(KeyboardInterrupt):
        interrupt(1)  # a header is nothing
    assert not get_part_path(path).exists()
    with open_rows(path) as write:
        write("new\n")
    assert path.read_text() == "new\n"


def test_two_writers_of_one_table(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "x.csv"
    with open_rows(path) as write:
        write("a\n")
        with pytest.raises(OutputError, match="another ilk process is writing"), open_rows(path):
            pass
        write("b\n")
    assert path.read_text() == "a\nb\n"


def write_lines(path: Path, lines: list[str]) -> None:
    with open_rows(path) as write:
        for line in lines:
            write(line)


def test_a_full_disk_is_one_sentence_and_leaves_whole_lines(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path, line = tmp_path / "x.csv", "x" * 299 + "\n"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # 3 lines and a third
    try:
        with pytest.raises(OutputError, match=r"; the rows so far are in .*x\.csv\.part"):
            write_lines(path, [line] * 9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert get_part_path(path).read_text() == 3 * line
    assert not path.exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_process_leaves_whole_lines(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from ilk.artifacts.row_file import open_rows
        with open_rows(Path(sys.argv[1])) as write:
            i = 0
            while True:
                write(f"{i},{'x' * (i % 700)}\\n")
                i += 1
                if i == 100:
                    print("started", flush=True)
    """
    for k in range(6):
        path = tmp_path / f"{k}.csv"
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
        process.stdout.close()
        lines = get_part_path(path).read_text().split("\n")
        assert lines.pop() == ""  # the last line is whole
        assert len(lines) >= 100
        assert lines == [f"{i},{'x' * (i % 700)}" for i in range(len(lines))]
        assert not path.exists()
