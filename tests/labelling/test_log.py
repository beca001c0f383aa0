"""The log keeps every answer, whatever happens to the process."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from ilk.core.errors import ArtifactError, InputError, OutputError
from ilk.labelling.log import EventLog
from ilk.labelling.network_disk import describe_network_disk

WRITER = """
import sys
from ilk.labelling.log import EventLog
log = EventLog(sys.argv[1])
i = 0
while True:
    print(log.append("ann", "label", [f"{i:064x}"], "cat").number, flush=True)
    i += 1
"""


def test_a_killed_process_loses_no_event_that_it_has_told(tmp_path):
    path = tmp_path / "log.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(25)]
    os.kill(process.pid, signal.SIGKILL)
    told += [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    log = EventLog(path)  # the lock went with the process
    events = log.read_events()
    assert [e.number for e in events][: len(told)] == told == list(range(1, len(told) + 1))
    assert len(events) <= len(told) + 1  # one may have been written and not told
    assert [e.digests for e in events] == [(f"{i:064x}",) for i in range(len(events))]
    log.close()


def test_an_event_is_flushed_to_the_disk_before_it_is_told(tmp_path):
    log = EventLog(tmp_path / "log.sqlite")
    extra = 3  # flushes the file, and the folder after the journal is deleted
    assert log._connection.execute("PRAGMA synchronous").fetchone() == (extra,)
    log.close()


def test_a_log_that_is_damaged_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "log.sqlite"
    log = EventLog(path)
    for i in range(4):
        log.append("ann", "label", [f"{j:064x}" for j in range(i * 999, i * 999 + 500)], "cat")
    log.close()
    content = bytearray(path.read_bytes())
    content[-20 * 4096 : -19 * 4096] = bytes(4096)  # in the middle of a group of images
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged or not a log"):
        EventLog(path)


def test_events_are_never_changed_or_deleted(tmp_path):
    log = EventLog(tmp_path / "log.sqlite")
    log.append("ann", "label", ["00"], "cat")
    log.close()
    db = sqlite3.connect(tmp_path / "log.sqlite")
    for statement in ("UPDATE events SET label = 'dog'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="events are never"):
            db.execute(statement)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)  # not on network disks: wal
    db.close()


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    path = tmp_path / "log.sqlite"
    log = EventLog(path)
    log.append("ann", "label", ["00"], "cat")
    with pytest.raises(OutputError, match="another ilk process is labelling"):
        EventLog(path)
    reader = EventLog(path, read_only=True)
    assert [e.label for e in reader.read_events()] == ["cat"]
    with pytest.raises(OutputError, match="only read"):
        reader.append("ann", "skip", ["00"])
    reader.close()
    log.close()
    EventLog(path).close()


def test_a_key_is_in_the_log_once(tmp_path):
    log = EventLog(tmp_path / "log.sqlite")
    log.append("ann", "label", ["00"], "cat", key="a")
    with pytest.raises(OutputError, match="UNIQUE"):
        log.append("ann", "label", ["00"], "dog", key="a")
    log.append("ann", "skip", ["00"])
    log.append("ann", "skip", ["00"])
    assert [e.key for e in log.read_events()] == ["a", "", ""]
    log.close()


def test_other_files_are_refused_in_one_sentence(tmp_path):
    text = tmp_path / "text.sqlite"
    text.write_text("no database " * 100)
    with pytest.raises(ArtifactError, match="damaged or not a log"):
        EventLog(text)
    other = tmp_path / "other.sqlite"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE t (a)")
    db.commit()
    db.close()
    with pytest.raises(ArtifactError, match="is not a log of labels"):
        EventLog(other)
    newer = tmp_path / "newer.sqlite"
    EventLog(newer).close()
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ArtifactError, match="newer ilk"):
        EventLog(newer)
    with pytest.raises(OutputError, match="is a folder"):
        EventLog(tmp_path)
    with pytest.raises(InputError, match="there is no log"):
        EventLog(tmp_path / "none.sqlite", read_only=True)


def test_a_network_disk_is_named(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert "network disk (nfs4)" in describe_network_disk(tmp_path / "log.sqlite", mounts)
    mounts.write_text("/dev/sda / ext4 rw 0 0\n")
    assert describe_network_disk(tmp_path / "log.sqlite", mounts) == ""
    assert describe_network_disk(tmp_path / "log.sqlite", tmp_path / "none") == ""


@pytest.mark.parametrize(
    "change",
    ["label = x'ff'", "digests = '{'", "digests = '[1]'", "digests = '3'", "target = 'x'",
     "kind = 'open', detail = '[]'", "kind = 'open', detail = '{'"],
)  # fmt: skip
def test_a_damaged_event_is_said(tmp_path, change):
    path = tmp_path / "log.sqlite"
    log = EventLog(path)
    log.append("ann", "label", ["00"], "cat")
    log.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER keep_events")
        db.execute(f"UPDATE events SET {change}")
    db.close()
    log = EventLog(path)
    with pytest.raises(ArtifactError, match="damaged"):
        log.read_events()
    log.close()


def test_a_file_that_is_no_log_gets_no_lock_file_beside_it(tmp_path):
    (tmp_path / "passwd").write_text("root")
    with pytest.raises(ArtifactError, match="not a log of labels"):
        EventLog(tmp_path / "passwd")
    assert [path.name for path in tmp_path.iterdir()] == ["passwd"]
