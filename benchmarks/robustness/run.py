"""Is anything lost or silently wrong, whatever is done to ilk?

**Hostile files.** Small images of every format are cut, flipped, padded, emptied, given odd names,
modes and headers, and lie beside links, pipes and locked files. Every file must be one row, and
`check`, `fit` and `predict` must say the same of each.

**Tampering.** Saved models of every kind and the feature store are damaged, mixed with those of
other models, and edited with all digests right. A mutation is *accepted* if the model opens without
a word and answers differently; none may be. See `benchmarks.robustness.tampering` for the edits
that make another valid model, and are counted apart.

**Kills.** Commands are killed with SIGKILL at random moments, half of them while the result is
being written, and repeated. The folder must then be equal to that of a run without a kill, apart
from times and dates.

**Two writers.** Two commands write one folder at once. The folder must hold what the successful
ones leave one after the other; the other gives way with exit code 4 or 5 and one sentence.

**Bombs.** The peak memory of whole commands on small files of up to 128 million pixels; the bound
is derived in `benchmarks.robustness.bombs`.

**Situations.** What public bug reports of such tools describe, each as a small input, with what ilk
says to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.robustness.bombs import measure_bombs
from benchmarks.robustness.hostile_files import measure_hostile_files
from benchmarks.robustness.kills import measure_kills
from benchmarks.robustness.situations import measure_situations
from benchmarks.robustness.tampering_table import measure_tampering
from benchmarks.robustness.writers import measure_writers

SIZES = {  # full, small
    "hostile files": (5_000, 300),
    "mutations": (300, 40),
    "edits given to commands": (600, 60),
    "kills": (100, 6),
    "rounds of two writers": (50, 2),
}
Result = dict[str, Any]


def run(small: bool = False) -> Result:
    """Return the figures of all parts, with the list of the bars that they miss.

    `small` has fewer files, mutations and kills, and leaves out slow situations.
    """
    sizes = {name: pair[small] for name, pair in SIZES.items()}
    result: Result = {
        "hostile files": _in_folder(
            lambda work: measure_hostile_files(work, sizes["hostile files"])
        ),
        **_in_folder(
            lambda work: measure_tampering(
                work, sizes["mutations"], sizes["edits given to commands"]
            )
        ),
        "kills": _in_folder(lambda work: measure_kills(work, sizes["kills"])),
        "two writers": _in_folder(
            lambda work: measure_writers(work, sizes["rounds of two writers"])
        ),
        "bombs": _in_folder(lambda work: measure_bombs(work, small)),
        "situations": _in_folder(lambda work: measure_situations(work, small)),
    }
    result["bars missed"] = list_missed(result)
    return result


def list_missed(result: Result) -> list[str]:
    """Return every bar that the figures miss, in words."""
    files, commands = result["hostile files"], result["tampered commands"]
    missed = [
        f"hostile files: {files[key]} {key}"
        for key in ("files without a row", "rows without a file", "disagreements", "tracebacks")
        if files[key]
    ]
    for row in result["tampering"]:
        missed += [
            f"{row['saved']}: {row[key]} {key}" for key in ("accepted", "tracebacks") if row[key]
        ]
    if commands["tracebacks"]:
        missed.append(f"edited models: {commands['tracebacks']} tracebacks of commands")
    for row in result["kills"]:
        if row["equal after repeating"] != row["kills"] or row["tracebacks"]:
            missed.append(f"kills: {row['command']}, {row['failures'][:1]}")
    for row in result["two writers"]:
        if row["intact"] != row["rounds"] or row["tracebacks"]:
            missed.append(f"two writers: {row['commands']}, {row['failures'][:1]}")
    for row in result["bombs"]["runs"]:
        if not row["within"]:
            missed.append(
                f"bombs: {row['command']}, {row['threads']} threads, {row['peak MiB']} MiB"
            )
    missed += [
        f"situation: {row['part']}, {row['situation']}: {row['problem']}"
        for row in result["situations"]
        if not row["right"]
    ]
    return missed


def _in_folder(measure: Callable[[Path], Any]) -> Any:
    """Call `measure` with an empty folder and a feature store of its own, and no access to hubs."""
    with TemporaryDirectory(prefix="ilk-robustness-") as folder:
        saved = {name: os.environ.get(name) for name in ("ILK_STORE", "HF_HUB_OFFLINE")}
        os.environ.update(ILK_STORE=f"{folder}/store.sqlite", HF_HUB_OFFLINE="1")
        try:
            return measure(Path(folder))
        finally:
            for name, value in saved.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
