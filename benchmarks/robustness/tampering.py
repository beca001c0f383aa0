"""Damaged, exchanged and edited files of every kind of saved model: is one ever used as if whole?

A mutation is *accepted* if the model opens, says nothing and answers differently. Damage of bytes,
a missing file and a file of another model must never be accepted. A description that was edited and
signed again must not be accepted with a value that cannot stand there (another type, a missing
entry, a number that is none); a number or text of the same kind is a different model, not damage.
Arrays with nan or infinity, or of another shape, must be refused although every digest is right.
"""

from __future__ import annotations

import json
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.mutations import (
    DEEP,
    DELETED,
    WRONG_VALUES,
    damage,
    dump,
    edit,
    is_wrong,
    list_places,
    nest,
    read_place,
)
from benchmarks.robustness.saved_things import SavedThing, sign
from ilk.core.errors import ArtifactError, IlkError

MAX_LISTED = 20  # failures listed in the result


OPTIONAL_FILES = {"calibration_errors.safetensors", "features.json", "state.safetensors"}


@dataclass
class Tally:
    """Counts of one kind of saved thing.

    Attributes:
        endings: How often mutations ended in each way.
        failures: Mutations that were accepted, or ended in a traceback.
    """

    endings: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def to_json(self, name: str) -> dict[str, Any]:
        """Return a row of the table."""
        return {
            "saved": name,
            "mutations": sum(self.endings.values()),
            "refused": self.endings["refused"],
            "refused, other code than 4": self.endings["refused otherwise"],
            "same answers": self.endings["same"],
            "another valid value": self.endings["valid"],
            "accepted": self.endings["accepted"],
            "tracebacks": self.endings["traceback"],
        }


def try_mutation(
    tally: Tally, what: str, thing: SavedThing, home: Path, expected: Any, wrong: bool
) -> None:
    """Open the mutated thing in `home` and count how that ends."""
    try:
        answer = thing.answer(home)
    except ArtifactError as error:
        ending = "refused" if "\n" not in str(error) else "traceback"
    except IlkError:
        ending = "refused otherwise"
    except Exception:
        last = " | ".join(line.strip() for line in traceback.format_exc().splitlines()[-4:])
        tally.endings["traceback"] += 1
        tally.failures.append(f"{thing.name}: {what}: {last}")
        return
    else:
        same = json.dumps(answer) == json.dumps(expected)
        ending = "same" if same else "accepted" if wrong else "valid"
    tally.endings[ending] += 1
    if ending in ("accepted", "traceback"):
        tally.failures.append(f"{thing.name}: {what}: {ending}")


def attack(thing: SavedThing, other: Path, work: Path, n: int, seed: int = 0) -> Tally:
    """Mutate a saved thing at least `n` times and return how the mutations ended.

    Args:
        thing: The saved thing.
        other: Folder of another model of the same kind.
        work: Folder for the mutated copies.
        n: Number of damages, and of edits at most.
        seed: Seed.
    """
    tally, expected = Tally(), thing.answer(thing.folder)
    rng = np.random.default_rng(seed)
    home = work / thing.name
    for what, wrong, apply in _iter_mutations(thing, other, rng, n):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(thing.folder, home)
        apply(home)
        try_mutation(tally, what, thing, home, expected, wrong)
    return tally


Mutation = tuple[str, bool, Callable[[Path], Any]]


def _iter_mutations(
    thing: SavedThing, other: Path, rng: np.random.Generator, n: int
) -> Iterator[Mutation]:
    yield from _iter_damages(thing, other, rng, n)
    yield from _iter_edits(thing, rng, n)
    arrays = list(_iter_arrays(thing))
    chosen = sorted(rng.permutation(len(arrays))[: 4 * n].tolist())
    yield from (arrays[i] for i in chosen)


def _iter_damages(
    thing: SavedThing, other: Path, rng: np.random.Generator, n: int
) -> Iterator[Mutation]:
    names = sorted(p.name for p in thing.folder.iterdir() if p.suffix in (".json", ".safetensors"))
    own = [name for name in names if name in (thing.description, thing.weights)]
    for i in range(n):
        name = own[i % 2] if i % 4 < 3 else names[int(rng.integers(len(names)))]
        what, content = damage((thing.folder / name).read_bytes(), rng)
        yield f"{name}, {what}", True, _writer(name, content)
    for name in names:
        # A model without its errors is a model that was never given any.
        yield f"{name} deleted", name not in OPTIONAL_FILES, _deleter(name)
        if (other / name).exists():
            content = (other / name).read_bytes()
            yield f"{name} of another model", True, _writer(name, content)


def _writer(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda home: (home / name).write_bytes(content)


def _deleter(name: str) -> Callable[[Path], Any]:
    return lambda home: (home / name).unlink()


def _iter_edits(thing: SavedThing, rng: np.random.Generator, n: int) -> Iterator[Mutation]:
    description = json.loads((thing.folder / thing.description).read_bytes())
    edits = [
        (path, value)
        for path in list_places(description)
        if path[0] != "digest"
        for value in WRONG_VALUES
        if not (value is DELETED and isinstance(path[-1], int))
    ]
    chosen = rng.permutation(len(edits))[: max(n, 100)]
    for path, value in (edits[i] for i in sorted(chosen)):
        old = read_place(description, path)
        shown = "deleted" if value is DELETED else repr(value)[:40]
        what = f"{'.'.join(map(str, path))} = {shown}"
        content = dump(sign(edit(description, path, value)))
        yield what, is_wrong(old, value), _writer(thing.description, content)
    for path in list(list_places(description))[:: max(1, len(edits) // 200)]:
        if path[0] != "digest":
            content = dump(sign(edit(description, path, nest(DEEP))))
            yield f"{'.'.join(map(str, path))} nested", True, _writer(thing.description, content)
    for text in (b"[" * 100_000, b"[]", b"null", b"", b"{}", b"\xff\xfe", b'{"version": Infinity}'):
        yield f"description {text[:12]!r}", True, _writer(thing.description, text)


def _iter_arrays(thing: SavedThing) -> Iterator[Mutation]:
    arrays: dict[str, Any] = {}
    scratch = thing.folder.with_name(thing.folder.name + " arrays")
    shutil.copytree(thing.folder, scratch)
    thing.replace_arrays(scratch, lambda name, array: arrays.setdefault(name, array))
    shutil.rmtree(scratch)
    for name, array in arrays.items():
        for what, change in ARRAY_CHANGES.items():
            if change(array) is not array:
                yield f"array {name}, {what}", True, _replacer(thing, name, change)


def _replacer(thing: SavedThing, name: str, change: Callable[[Any], Any]) -> Callable[[Path], Any]:
    return lambda home: thing.replace_arrays(
        home, lambda key, array: change(array) if key == name else array
    )


def _put(value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        """Return a copy with one other value; the array itself where that cannot be."""
        if array.dtype.kind != "f" or not array.size:
            return array
        out = array.copy()
        out.reshape(-1)[out.size // 2] = value
        return out

    return change


ARRAY_CHANGES: dict[str, Callable[[Any], Any]] = {
    "a nan": _put(np.nan),
    "an infinity": _put(np.inf),
    "one row less": lambda a: a[:-1].copy() if a.size else a,
    "one axis more": lambda a: a[None],
    "no rows": lambda a: a[:0].copy() if a.size else a,
    "integers out of range": lambda a: a + 1_000_000 if a.dtype.kind == "i" else a,
    "as bytes": lambda a: np.frombuffer(a.tobytes() or b"\0", np.uint8).copy(),
    "half of its width": lambda a: a[..., : a.shape[-1] // 2].copy() if a.ndim > 1 else a,
}
