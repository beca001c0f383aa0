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

from benchmarks.encode.run import WEIGHTS, list_images, write_images
from benchmarks.runner import shared_path
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.store import Store


def run(small: bool = False) -> dict[str, Any]:
    """Return the peak memory at two sizes, and the growth between them."""
    few, many = (16, 32) if small else (2000, 20_000)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "images"
        write_images(folder, many)
        return measure_memory(shared_path("weights", WEIGHTS), folder, (few, many), Path(home))


def measure_memory(
    weights: Path, folder: Path, sizes: tuple[int, int], home: Path
) -> dict[str, Any]:
    """Return the peak memory of processes that encode that many images."""
    peaks = {n: _measure_peak(weights, folder, n, home) for n in sizes}
    few, many = sizes
    return {
        "peak_megabytes": {str(n): round(peak / 2**20, 1) for n, peak in peaks.items()},
        "growth": round(peaks[many] / peaks[few] - 1, 4),
    }


def _measure_peak(weights: Path, folder: Path, n: int, home: Path) -> int:
    code = "import sys; from benchmarks.memory.run import print_peak; print_peak(*sys.argv[1:])"
    arguments = [str(weights), str(folder), str(n), str(home / f"memory-{n}.sqlite")]
    command = [sys.executable, "-c", code, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(weights: str, folder: str, n: str, store: str) -> None:
    """Encode in a separate process and print its peak memory in bytes."""
    encoder = resolve_encoder(f"local-dir:{weights}", device="cpu")
    encode_images(list_images(Path(folder), int(n)), [encoder], Store(store))
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the memory of the parent at the fork
        lines = status.read_text().splitlines()
        print(next(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM")))
    else:
        import resource  # not available on Windows

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak if sys.platform == "darwin" else peak * 1024)
