"""Results of finished trainings, kept in a file, so that an interrupted run goes on from there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ilk.core.atomic_write import write_atomically
from ilk.core.digested_json import check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError
from ilk.core.regular_file import read_regular_file

NAME = ".learning.part"


class Ledger:
    """Lists of numbers by name; those of another run, or in a damaged file, are dropped.

    Args:
        path: The file; None keeps nothing.
        run: What the run depends on: source, encoder and settings.
    """

    def __init__(self, path: Path | None = None, run: Mapping[str, Any] | None = None) -> None:
        self.path, self.run = path, dict(run or {})
        self.results: dict[str, list[float | None]] = {}
        if path is None:
            return
        with suppress(OSError, ArtifactError):
            fields = parse_json(read_regular_file(path), path)
            check_digest(fields, path)
            if fields.get("run") == self.run:
                self.results = dict(fields["results"])

    def get_or_make(self, name: str, make: Callable[[], list[float]]) -> list[float]:
        """Return the numbers called `name`, made by `make` if they are not kept yet.

        Raises:
            OutputError: The file cannot be written.
        """
        if name not in self.results:
            values = make()
            self.results[name] = [v if math.isfinite(v) else None for v in values]
            if self.path is not None:
                content = encode_digested({"run": self.run, "results": self.results})
                write_atomically(self.path, content)
        return [float("nan") if v is None else float(v) for v in self.results[name]]

    def delete(self) -> None:
        """Delete the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
