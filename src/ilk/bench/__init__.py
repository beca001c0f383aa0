"""Benchmarks: one file, one question. `ilk bench NAME` runs it and writes a JSON with provenance.

A benchmark is a module of this package with a docstring and `run(small=False) -> dict`. `small`
ends in seconds and exists so that a test can run it. Modules with a leading underscore hold what
several benchmarks share.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from ilk.errors import OutputError, Unavailable, UnknownName
from ilk.versions import versions


def available() -> list[str]:
    """Names of the benchmarks."""
    return sorted(i.name for i in iter_modules(__path__) if not i.name.startswith("_"))


def question(name: str) -> str:
    """A benchmark's docstring, read without importing it."""
    text = Path(__path__[0], f"{name}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(text)) or ""


def shared(*parts: str) -> Path:
    """A file or folder of the measurement material (`ILK_SHARED`, else `../shared`).

    Raises:
        Unavailable: It is not there.
    """
    path = Path(os.environ.get("ILK_SHARED", "../shared")).joinpath(*parts)
    if not path.exists():
        raise Unavailable(f"{path} is not there; name the folder that holds it in ILK_SHARED")
    return path


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, and the half width of its 95 % interval (Student, n - 1 degrees of freedom).

    The half width of a single value is None: nothing is known of it.
    """
    import numpy as np
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    return {"mean": float(np.mean(values)), "half_width": half}


def provenance() -> dict[str, Any]:
    """What a figure needs to be believed: command, time, versions, machine."""
    told = versions()
    return {
        "command": "ilk " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": told.pop("python"),
        "versions": told,
        "machine": {"system": platform.system(), "cpu": _cpu(), "cores": os.cpu_count()},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def measure(name: str, out: Path, *, small: bool = False) -> dict[str, Any]:
    """Run benchmark `name` and write its result with provenance to `out`.

    Raises:
        UnknownName: There is no such benchmark.
        OutputError: The file cannot be written.
    """
    if name not in available():
        raise UnknownName("benchmark", name, available())
    module = import_module(f"{__name__}.{name}")
    began = time.perf_counter()
    result = module.run(small=small)
    told = {"name": name, "small": small, **provenance()}
    told["command"] = f"ilk bench {name}" + " --small" * small  # where it is written says nothing
    told["seconds"] = round(time.perf_counter() - began, 1)
    told["result"] = result
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(told, indent=1) + "\n")
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror}; name another with --out"
        ) from error
    return told
