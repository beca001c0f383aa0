"""Which embedding of a class-conditional network belongs to which class name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ilk.errors import InputError


def labels(index: dict[str, Any], where: Path) -> dict[int, str]:
    """Class names by embedding that `model_index.json` gives (`id2label`); empty if it has none.

    Raises:
        InputError: They are no such list.
    """
    told = index.get("id2label") or {}
    try:
        named = dict(sorted((int(i), str(name)) for i, name in told.items()))
    except (AttributeError, ValueError) as error:
        raise InputError(f"id2label of {where} is no list of names by number: {error}") from None
    often = Counter(named.values())  # ImageNet has two cranes
    return {i: name if often[name] == 1 else f"{name} ({i})" for i, name in named.items()}


def distinct(classes: Sequence[str]) -> tuple[str, ...]:
    """`classes`, once they differ.

    Raises:
        InputError: A name comes twice.
    """
    if len(set(classes)) < len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise InputError(f"class {twice!r} is given twice; give each name once")
    return tuple(classes)


def embeddings(
    classes: Sequence[str] | None, named: dict[int, str], count: int, where: Path
) -> tuple[tuple[str, ...], list[int]]:
    """The classes that the network shall know, and the embedding of each.

    Args:
        classes: Names that are asked for; None for all that the checkpoint has.
        named: Names that the checkpoint gives, by embedding; may be empty.
        count: Embeddings of classes.
        where: The checkpoint, for messages.

    Raises:
        InputError: They do not match; names the class, and the nearest that there are.
    """
    if named and (min(named) < 0 or max(named) >= count):
        raise InputError(f"{where} names class {max(named)}, but its network knows only {count}")
    if classes is None:
        named = named or {i: str(i) for i in range(count)}
        return tuple(named.values()), list(named)
    asked = distinct(classes)
    if not named:
        if len(asked) != count:
            raise InputError(
                f"{len(asked)} classes are given, but {where} was trained on {count} and does not "
                f"name them; give {count} names in its order"
            )
        if set(asked) == {str(i) for i in range(count)}:  # numbers say which they are
            return asked, [int(name) for name in asked]
        return asked, list(range(count))
    return asked, [_find(name, named, where) for name in asked]


def _find(name: str, named: dict[int, str], where: Path) -> int:
    """The embedding of a class called `name` whole, or in one of its words between commas."""
    whole = [i for i, label in named.items() if label == name]
    part = [i for i, label in named.items() if name in (w.strip() for w in label.split(","))]
    found = whole or part
    if not found:
        near = get_close_matches(name, named.values(), cutoff=0.3) or list(named.values())[:3]
        raise InputError(
            f"{where} knows {len(named)} classes, none of which is called {name!r}; "
            f"the nearest are {', '.join(repr(n) for n in near)}"
        )
    if len(found) > 1:
        raise InputError(
            f"class {name!r} could be {' or '.join(repr(named[i]) for i in found[:2])} "
            f"(numbers {found[0]} and {found[1]}); write the longer name, or leave it out"
        )
    return found[0]
