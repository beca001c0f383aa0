"""Exports that the page starts: a model, a folder or a table beside the log.

The server chooses the names, so that no request says where something is written.
"""

from __future__ import annotations

import secrets
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ilk.core.errors import IlkError
from ilk.core.progress import Advance
from ilk.labelling.model_export import describe_accuracy
from ilk.labelling.opening import LOG_SUFFIX
from ilk.labelling.session import LabellingSession
from ilk.serve.problems import Problem

ENDINGS = {"model": "-model", "folder": "-labelled", "csv": "-labels.csv"}


@dataclass(frozen=True)
class Job:
    """One export.

    Attributes:
        kind: "model", "folder" or "csv".
        state: "running", "done" or "failed".
        sentence: What it does, did, or why it failed.
        fraction: How much is done, in [0, 1]; None if that is not known.
        path: Where it is written.
        commands: What can be done with it, as command lines.
        ask: Address of the page that answers with the model; "" without.
    """

    kind: str
    state: str = "running"
    sentence: str = ""
    fraction: float | None = None
    path: str = ""
    commands: tuple[str, ...] = field(default=())
    ask: str = ""


class ExportJobs:
    """Runs exports in the background, one of each kind at a time.

    Args:
        session: The open session.
        use_model: Called with the folder of a new model; returns the address of a page that answers
            with it, "" if there is none.
    """

    def __init__(
        self, session: LabellingSession, use_model: Callable[[Path], str] = lambda _: ""
    ) -> None:
        self._session, self._use_model = session, use_model
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def list_jobs(self) -> list[dict[str, Any]]:
        """Return the newest export of each kind."""
        with self._lock:
            return [{**vars(job), "commands": list(job.commands)} for job in self._jobs.values()]

    def start(self, kind: Any) -> threading.Thread | None:
        """Start an export, unless one of that kind is running; return its thread.

        Raises:
            Problem: There is no such kind.
        """
        if not isinstance(kind, str) or kind not in ENDINGS:
            raise Problem(422, f"an export must be one of {', '.join(ENDINGS)}")
        with self._lock:
            if kind in self._jobs and self._jobs[kind].state == "running":
                return None
            path = self._choose_path(kind)
            self._jobs[kind] = Job(kind, sentence="Starting", path=str(path))
        thread = threading.Thread(target=self._run, args=(kind, path), name="ilk export")
        thread.daemon = True
        thread.start()
        return thread

    def make_table(self) -> bytes:
        """Return the labels as CSV, with paths relative to the folder of the log."""
        path = self._session.log.path.with_name(f".ilk-{secrets.token_hex(8)}.csv")
        try:
            self._session.export_csv(path)
            return path.read_bytes()
        finally:
            with suppress(FileNotFoundError):
                path.unlink()

    def _choose_path(self, kind: str) -> Path:
        """Return a name that does not exist yet, beside the log."""
        log = self._session.log.path.absolute()
        stem, ending = log.name.removesuffix(LOG_SUFFIX), ENDINGS[kind]
        path, number = log.with_name(f"{stem}{ending}"), 2
        while path.exists():
            plain, dot, suffix = ending.partition(".")
            path, number = log.with_name(f"{stem}{plain}-{number}{dot}{suffix}"), number + 1
        return path

    def _run(self, kind: str, path: Path) -> None:
        try:
            done = {"model": self._fit, "folder": self._copy, "csv": self._write}[kind](path)
            self._update(kind, state="done", fraction=1.0, **done)
        except IlkError as error:
            self._update(kind, state="failed", sentence=_capitalize(str(error)))
        except Exception as error:
            self._update(kind, state="failed", sentence=f"{type(error).__name__}: {error}")
            raise

    def _update(self, kind: str, **changes: Any) -> None:
        with self._lock:
            self._jobs[kind] = replace(self._jobs[kind], **changes)

    def _fit(self, path: Path) -> dict[str, Any]:
        @contextmanager
        def progress(what: str, total: int) -> Iterator[Advance]:
            done = 0

            def advance(n: int) -> None:
                nonlocal done
                done += n
                fraction = done / total if total else None
                self._update("model", sentence=_capitalize(what), fraction=fraction)

            advance(0)
            yield advance

        accuracy = describe_accuracy(self._session.fit_model(path, progress=progress))
        self._update("model", sentence="Loading the model", fraction=None)
        shown = shlex.quote(str(path))
        how = f": {accuracy}" if accuracy else ""
        return {
            "sentence": f"The model is ready{how}. Its folder has a report.",
            "commands": (f"ilk serve {shown}", f"ilk predict {shown} IMAGES"),
            "ask": self._use_model(path),
        }

    def _copy(self, path: Path) -> dict[str, Any]:
        n = self._session.export_folder(path)
        command = f"ilk fit {shlex.quote(str(path))} --out MODEL"
        return {"sentence": f"{n:,} images are copied.", "commands": (command,)}

    def _write(self, path: Path) -> dict[str, Any]:
        n = self._session.export_csv(path)
        command = f"ilk fit {shlex.quote(str(path))} --out MODEL"
        return {"sentence": f"{n:,} images are listed.", "commands": (command,)}


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
