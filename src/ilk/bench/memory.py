"""Does encoding ten times the images take more memory?

Peak memory of a process that encodes 2,000 JPEG files (500 x 400) from disk to store, and of one
that encodes 20,000.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ilk.bench import shared
from ilk.bench.encode import WEIGHTS, listed, write_images
from ilk.encode import fill
from ilk.encoders import resolve
from ilk.store import Store


def run(small: bool = False) -> dict[str, Any]:
    """Peaks at two sizes, and the growth between them."""
    few, many = (16, 32) if small else (2000, 20_000)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "images"
        write_images(folder, many)
        return memory(shared("weights", WEIGHTS), folder, (few, many), Path(home))


def memory(weights: Path, folder: Path, sizes: tuple[int, int], home: Path) -> dict[str, Any]:
    """Peak memory of processes that encode so many images."""
    peaks = {n: _peak(weights, folder, n, home) for n in sizes}
    few, many = sizes
    return {
        "peak_megabytes": {str(n): round(peak / 2**20, 1) for n, peak in peaks.items()},
        "growth": round(peaks[many] / peaks[few] - 1, 4),
    }


def _peak(weights: Path, folder: Path, n: int, home: Path) -> int:
    code = "import sys; from ilk.bench import memory; memory.tell_peak(*sys.argv[1:])"
    arguments = [str(weights), str(folder), str(n), str(home / f"memory-{n}.sqlite")]
    command = [sys.executable, "-c", code, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def tell_peak(weights: str, folder: str, n: str, store: str) -> None:
    """Encode in a process of its own and print its peak memory in bytes."""
    encoder = resolve(f"local-dir:{weights}", device="cpu")
    fill(listed(Path(folder), int(n)), [encoder], Store(store))
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent held when it started this process
        lines = status.read_text().splitlines()
        print(next(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM")))
    else:
        import resource  # not on Windows, where this benchmark does not run

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak if sys.platform == "darwin" else peak * 1024)
