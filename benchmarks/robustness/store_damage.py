"""Damage to the feature store: a damaged row must be encoded again or refused, never used."""

from __future__ import annotations

import shutil
import sqlite3
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.mutations import damage
from benchmarks.robustness.saved_things import make_probes
from benchmarks.robustness.tampering import Tally
from ilk.artifacts.loading import load
from ilk.core.errors import IlkError
from ilk.store import Store

ROW_EDITS = (  # as somebody with an SQLite browser, or a bad disk, could make them
    "UPDATE features SET value = zeroblob(length(value)) WHERE rowid % 2",
    "UPDATE features SET value = substr(value, 1, 8)",
    "UPDATE features SET value = CAST('text' AS TEXT)",
    "UPDATE features SET value = (SELECT value FROM features ORDER BY rowid DESC LIMIT 1)",
    "UPDATE features SET checksum = checksum + 1",
    "UPDATE features SET checksum = 'x'",
    "UPDATE features SET digest = zeroblob(32) WHERE rowid = (SELECT min(rowid) FROM features)",
    "UPDATE spaces SET dim = 7",
    "UPDATE spaces SET key = 'other'",
    "DELETE FROM spaces",
    "DROP TABLE features",
    "DROP TABLE verdicts",
    "PRAGMA user_version = 99",
    "PRAGMA user_version = 1",
    "INSERT OR REPLACE INTO verdicts SELECT digest, 'truncated', 'x', 5 FROM features",
)


def attack_store(model: Path, work: Path, n: int, seed: int = 0) -> Tally:
    """Predict with a damaged store at least `n` times and compare with the right answers.

    Args:
        model: Folder of a classifier.
        work: Folder for the stores.
        n: Number of damages.
        seed: Seed.
    """
    work.mkdir(parents=True, exist_ok=True)
    clean, classifier = work / "clean.sqlite", load(model)
    expected = _answer(classifier, clean)
    with sqlite3.connect(clean) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    rng, tally, content = np.random.default_rng(seed), Tally(), clean.read_bytes()
    for _ in range(n):
        what, damaged = damage(content, rng)
        _remove(work)
        (work / "store.sqlite").write_bytes(damaged)
        _try(tally, what, classifier, work / "store.sqlite", expected)
    for statement in ROW_EDITS:
        _remove(work)
        shutil.copy(clean, work / "store.sqlite")
        with sqlite3.connect(work / "store.sqlite") as db:
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute(statement)
        db.close()
        _try(tally, statement, classifier, work / "store.sqlite", expected)
    return tally


def _remove(work: Path) -> None:
    for path in work.glob("store.sqlite*"):
        path.unlink()


def _answer(classifier: Any, path: Path) -> list[str]:
    store = Store(path)
    try:
        return [repr(p) for p in classifier.predict(make_probes(), store=store)]
    finally:
        store.close()


def _try(tally: Tally, what: str, classifier: Any, path: Path, expected: list[str]) -> None:
    try:
        ending = "same" if _answer(classifier, path) == expected else "accepted"
    except IlkError as error:
        ending = "refused" if error.exit_code == 5 else "refused otherwise"
    except Exception:
        ending = "traceback"
        what += ": " + " | ".join(traceback.format_exc().splitlines()[-3:])
    tally.endings[ending] += 1
    if ending in ("accepted", "traceback"):
        tally.failures.append(f"store: {what}: {ending}")
