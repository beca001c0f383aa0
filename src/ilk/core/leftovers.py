"""Names of temporary files that tell which process writes them, so that the dead ones' are deleted.

`.NAME.HOST.PID.part` stands beside the file NAME that it will become. When a process is killed it
stays behind, and the next process that writes NAME deletes it.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

SUFFIX = ".part"
MAX_NAME_BYTES = 200  # of the part of a name that comes from the file; systems allow 255 in all


@cache
def get_host() -> str:
    """Return the name of this machine, or container, as part of a file name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40] or "localhost"


def get_temporary_path(path: Path) -> Path:
    """Return the path of the temporary file that this process writes before `path`."""
    return path.with_name(f"{_get_prefix(path)}{get_host()}.{os.getpid()}{SUFFIX}")


def _get_prefix(path: Path) -> str:
    name = os.fsencode(path.name)[:MAX_NAME_BYTES]
    return f".{os.fsdecode(name)}."


def delete_leftovers(path: Path) -> None:
    """Delete temporary files of `path` whose process has ended; those of other machines stay."""
    prefix = f"{_get_prefix(path)}{get_host()}."
    with suppress(OSError):  # a folder that cannot be read has nothing that could be deleted
        for entry in os.scandir(path.parent):
            if entry.name.startswith(prefix) and entry.name.endswith(SUFFIX):
                pid = entry.name[len(prefix) : -len(SUFFIX)]
                if pid.isdecimal() and has_ended(int(pid)):
                    with suppress(OSError):
                        os.unlink(entry.path)


def is_leftover(name: str) -> bool:
    """Whether a file has a name that only an unfinished run of ilk gives, in its output folder."""
    return name.startswith(".ilk.") or name.endswith((SUFFIX, ".ilk-new"))


def has_ended(pid: int) -> bool:
    """Whether no process of this machine has the number `pid`; False where it cannot be known."""
    if os.name != "posix":  # os.kill ends the process there
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False
