"""A folder is in its old state or in its new one, wherever a process stops."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ilk.core import folder_transaction as transactions
from ilk.core.errors import ArtifactError, OutputError
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder

OLD = {"model.json": b"old", "weights": b"old weights", "sub/part": b"old part"}
NEW = {"model.json": b"new", "weights-2": b"new weights", "sub/part": b"new part", "page": b"new"}


def read(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != transactions.LOCK_FILE
    }


def plant(folder):
    for name, content in OLD.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def replace_all(folder):
    with lock_folder(folder):
        change = FolderTransaction(folder)
        for name, content in NEW.items():
            change.write(name, content)
        change.delete("weights")
        change.commit()


def test_a_transaction_replaces_and_deletes(tmp_path):
    replace_all(plant(tmp_path))
    assert read(tmp_path) == NEW
    replace_all(tmp_path)
    assert read(tmp_path) == NEW


class Killed(BaseException):
    """Not an error that anyone handles, as a kill is not."""


def test_a_kill_at_any_step_leaves_the_old_state_or_the_new_one(tmp_path, monkeypatch):
    """Every call that changes the disk is cut off once, before it happens."""
    seen = set()
    for n_calls in range(1000):
        folder = plant(tmp_path / str(n_calls))
        left = n_calls

        def cut(function):
            def call(*args, **options):
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return function(*args, **options)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cut(os.replace))
            patch.setattr(Path, "unlink", cut(Path.unlink))
            patch.setattr(Path, "mkdir", cut(Path.mkdir))
            patch.setattr(Path, "open", cut(Path.open))
            try:
                replace_all(folder)
                is_complete = True
            except Killed:
                is_complete = False
        finish_commit(folder)  # what a reader does
        visible = {
            name: content
            for name, content in read(folder).items()
            if not name.rpartition("/")[2].startswith(".") and not name.endswith(".ilk-new")
        }
        assert visible in (OLD, NEW)
        seen.add(visible == NEW)
        replace_all(folder)
        assert read(folder) == NEW  # and no leftovers
        if is_complete:
            break
    assert seen == {True, False}
    assert n_calls > 10


def test_two_processes_do_not_write_at_once(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from ilk.core.folder_transaction import *\n"
        "with lock_folder(Path(sys.argv[1])):\n print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline().strip() == b"held"
        with (
            pytest.raises(OutputError, match="another ilk process is writing to"),
            lock_folder(tmp_path),
        ):
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    start = time.monotonic()
    with lock_folder(tmp_path):  # the lock of a killed process is free
        assert time.monotonic() - start < 5


def test_the_holder_of_the_lock_may_take_it_again(tmp_path):
    with lock_folder(tmp_path):
        with lock_folder(tmp_path):
            pass
        replace_all(tmp_path)
    assert read(tmp_path) == NEW


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "x.ilk-new"])
def test_names_outside_the_folder_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="not a path inside"):
        FolderTransaction(tmp_path).write(name, b"")


@pytest.mark.parametrize(
    "record",
    [b"", b"[]", b"null", b"[" * 100_000, json.dumps({"write": ["../x"], "delete": []}).encode()],
)
def test_a_commit_record_from_elsewhere_is_refused(tmp_path, record):
    (tmp_path / transactions.COMMIT_FILE).write_bytes(record)
    with pytest.raises(ArtifactError, match="was not written by ilk"):
        finish_commit(tmp_path)


def test_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch):
    plant(tmp_path)

    def fail(_path, _content):
        raise OutputError("disk full")

    with lock_folder(tmp_path):
        change = FolderTransaction(tmp_path)
        change.write("model.json", b"new")
        monkeypatch.setattr(transactions, "write_atomically", fail)
        with pytest.raises(OutputError):
            change.commit()
    monkeypatch.undo()
    assert {n: c for n, c in read(tmp_path).items() if not n.endswith(".ilk-new")} == OLD


def test_a_folder_behind_a_link_is_not_written_to(tmp_path):
    folder, photos = tmp_path / "out", tmp_path / "photos"
    folder.mkdir()
    photos.mkdir()
    (photos / "0.png").write_text("mine")
    (folder / "cat").symlink_to(photos)
    with lock_folder(folder):
        change = FolderTransaction(folder)
        with pytest.raises(OutputError, match="link to another folder"):
            change.write("cat/0.png", b"new")
    assert [path.read_text() for path in photos.iterdir()] == ["mine"]
