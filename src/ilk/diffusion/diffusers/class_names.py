"""Match class names to the class embeddings of a class-conditional network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ilk.core.errors import InputError


def read_labels(index: dict[str, Any], where: Path) -> dict[int, str]:
    """Return the class names in `model_index.json` (`id2label`) by embedding index.

    Returns:
        Names by index, empty if the file has none. A name that occurs several times gets its index
        appended, since ImageNet has two classes called "crane".

    Raises:
        InputError: `id2label` does not map integers to names.
    """
    id2label = index.get("id2label") or {}
    try:
        label_names = dict(sorted((int(i), str(name)) for i, name in id2label.items()))
    except (AttributeError, ValueError) as error:
        raise InputError(f"id2label of {where} does not map numbers to names: {error}") from None
    counts = Counter(label_names.values())
    return {i: name if counts[name] == 1 else f"{name} ({i})" for i, name in label_names.items()}


def check_distinct(classes: Sequence[str]) -> tuple[str, ...]:
    """Return `classes` as a tuple after checking that they are distinct.

    Raises:
        InputError: A name occurs twice.
    """
    if len(set(classes)) < len(classes):
        duplicate = Counter(classes).most_common(1)[0][0]
        raise InputError(f"class {duplicate!r} is given twice; give each name once")
    return tuple(classes)


def match_embeddings(
    classes: Sequence[str] | None, label_names: dict[int, str], count: int, where: Path
) -> tuple[tuple[str, ...], list[int]]:
    """Return the class names and the embedding index of each.

    Args:
        classes: Requested names; None for all classes of the checkpoint.
        label_names: Names given by the checkpoint, by embedding index; may be empty.
        count: Number of class embeddings.
        where: The checkpoint, for messages.

    Raises:
        InputError: A name cannot be matched; the message suggests the closest names.
    """
    if label_names and (min(label_names) < 0 or max(label_names) >= count):
        raise InputError(
            f"{where} names class {max(label_names)}, but its network has only {count} classes"
        )
    if classes is None:
        label_names = label_names or {i: str(i) for i in range(count)}
        return tuple(label_names.values()), list(label_names)
    requested = check_distinct(classes)
    if not label_names:
        if len(requested) != count:
            raise InputError(
                f"{len(requested)} classes are given, but {where} was trained on {count} and does "
                f"not name them; give {count} names in its order"
            )
        if set(requested) == {str(i) for i in range(count)}:  # the names are the indices
            return requested, [int(name) for name in requested]
        return requested, list(range(count))
    return requested, [_find_embedding(name, label_names, where) for name in requested]


def _find_embedding(name: str, label_names: dict[int, str], where: Path) -> int:
    """Return the embedding whose label, or one of its comma-separated synonyms, is `name`."""
    exact = [i for i, label in label_names.items() if label == name]
    partial = [
        i for i, label in label_names.items() if name in (w.strip() for w in label.split(","))
    ]
    matches = exact or partial
    if not matches:
        nearest = (
            get_close_matches(name, label_names.values(), cutoff=0.3)
            or list(label_names.values())[:3]
        )
        raise InputError(
            f"{where} has {len(label_names)} classes, none of which is called {name!r}; "
            f"the closest are {', '.join(repr(n) for n in nearest)}"
        )
    if len(matches) > 1:
        raise InputError(
            f"class {name!r} could be {' or '.join(repr(label_names[i]) for i in matches[:2])} "
            f"(numbers {matches[0]} and {matches[1]}); write the longer name, or leave it out"
        )
    return matches[0]
