"""Runs benchmarks: `ilk bench NAME` writes the result of one as JSON with its provenance.

A benchmark is a folder of this package whose `run.py` has a docstring, which states its question,
and `run(small=False) -> dict`. `small` takes seconds and exists for the tests. Modules directly in
this package are shared by several benchmarks.
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
from typing import Any

from ilk.core.atomic_write import write_atomically
from ilk.core.errors import OutputError, Unavailable, UnknownName
from ilk.core.versions import get_versions

HERE = Path(__file__).parent


def list_benchmarks() -> list[str]:
    """Return the names of the benchmarks, sorted."""
    return sorted(path.parent.name for path in HERE.glob("*/run.py"))


def read_question(name: str) -> str:
    """Return the docstring of a benchmark without importing it."""
    text = (HERE / name / "run.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(text)) or ""


def shared_path(*parts: str) -> Path:
    """Return the path of a file or folder of the shared data (in `ILK_SHARED`, else `../shared`).

    Raises:
        Unavailable: If it does not exist.
    """
    path = Path(os.environ.get("ILK_SHARED", "../shared")).joinpath(*parts)
    if not path.exists():
        raise Unavailable(f"{path} is not there; name the folder that holds it in ILK_SHARED")
    return path


def summarize(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean and the half width of its 95 % interval (Student, n - 1 degrees of freedom).

    The half width of a single value is None.
    """
    import numpy as np
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    return {"mean": float(np.mean(values)), "half_width": half}


def collect_provenance() -> dict[str, Any]:
    """Return command, time, versions and machine."""
    package_versions = get_versions()
    return {
        "command": "ilk " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": package_versions.pop("python"),
        "versions": package_versions,
        "machine": {"system": platform.system(), "cpu": _read_cpu_model(), "cores": os.cpu_count()},
    }


def _read_cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run_benchmark(name: str, out: Path, *, small: bool = False) -> dict[str, Any]:
    """Run benchmark `name` and write its result with its provenance to `out`.

    Raises:
        UnknownName: If there is no such benchmark.
        OutputError: If the file cannot be written.
    """
    if name not in list_benchmarks():
        raise UnknownName("benchmark", name, list_benchmarks())
    module = import_module(f"benchmarks.{name}.run")
    start = time.perf_counter()
    result = module.run(small=small)
    record = {"name": name, "small": small, **collect_provenance()}
    record["command"] = f"ilk bench {name}" + " --small" * small  # without --out
    record["seconds"] = round(time.perf_counter() - start, 1)
    record["result"] = result
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, (json.dumps(record, indent=1) + "\n").encode())
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror}; name another with --out"
        ) from error
    return record
