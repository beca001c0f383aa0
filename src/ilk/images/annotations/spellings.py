"""Find the class of a saved model that a name means, however it is spelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ilk.images.annotations.label_columns import with_labels
from ilk.images.annotations.label_values import parse_label
from ilk.images.annotations.unify_spellings import normalize_class_name
from ilk.images.rows import Images, escape_path


def match_class_names(names: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """Return the class that each name means, for names that are not a class but spelled like one.

    Names that differ only in case, in spaces around them, in how Unicode composes a letter or in
    `1.0` for `1` mean the same, unless two classes of the model do.
    """
    counts = Counter(map(_make_key, classes))
    known = {key: c for c in classes if counts[key := _make_key(c)] == 1}
    return {
        name: known[key]
        for name in names
        if name not in classes and (key := _make_key(name)) in known
    }


def adopt_spellings(images: Images, classes: Sequence[str]) -> tuple[Images, str]:
    """Return images whose labels are spelled as the classes of a model, and a note, or ""."""
    matched = match_class_names(images.classes, classes)
    if not matched:
        return images, ""
    rows = [
        replace(row, label=matched.get(row.label or "", row.label))
        if row.labels is None
        else with_labels(row, tuple(sorted({matched.get(name, name) for name in row.labels})))
        for row in images.rows
    ]
    shown = ", ".join(
        f"{escape_path(ascii(name))} as {escape_path(ascii(known))}"
        for name, known in list(matched.items())[:3]
    )
    return replace(images, rows=tuple(rows)), f"labels are read in the model's spelling: {shown}"


def _make_key(name: str) -> str:
    return normalize_class_name(parse_label(name) or name)
