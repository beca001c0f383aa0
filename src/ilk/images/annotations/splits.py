"""Recognize splits (train, val, test) in the names of folders.

- `train/cat/1.png`: splits first, under any usual name: `Training`, `test_images`, `seg_train`,
  `val2017`, `Test Data`. Decorated names count only if all folders at the top are splits.
- `train/train/cat/1.png`: a split inside a folder of the same split, as some archives unpack.
- `cat/train/1.png`: classes first, if every class is divided that way.

Everything between these is ambiguous and refused: images of a test split must never be learned from
in silence, and a split must never become a class.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ilk.core.errors import InputError
from ilk.core.short_lists import list_first
from ilk.images.rows import escape_path

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
DECORATIONS: tuple[str, ...] = (
    "data",
    "dataset",
    "files",
    "folder",
    "image",
    "images",
    "img",
    "imgs",
    "photos",
)
DECORATIONS += ("pics", "pictures", "samples", "seg", "set", "sets", "split")
UNLABELLED_FOLDERS = ("unlabelled", "unlabeled")
METADATA_FILES = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")

PathParts = tuple[str, ...]


@dataclass(frozen=True)
class SplitLayout:
    """Where a path names its split.

    Attributes:
        first: Splits of the folders at the top, by name.
        doubled: Folders at the top whose only folder is the same split again.
        second: Splits of the folders inside the classes, by name.
    """

    first: dict[str, str] = field(default_factory=dict)
    doubled: frozenset[str] = frozenset()
    second: dict[str, str] = field(default_factory=dict)

    def locate(self, path: PathParts) -> tuple[str | None, PathParts]:
        """Return the split that a path names, and the path without the folders of the split."""
        if len(path) > 1 and path[0] in self.first:
            is_doubled = path[0] in self.doubled and len(path) > 2
            return self.first[path[0]], path[2:] if is_doubled else path[1:]
        if len(path) > 2 and path[1] in self.second:
            return self.second[path[1]], (path[0], *path[2:])
        return None, path


def parse_split(name: str, *, decorated: bool = True) -> str | None:
    """Return the split that a folder's name stands for: "train", "val", "test" or None.

    Args:
        name: The name, in any case.
        decorated: Also accept names with further words that say nothing, and numbers.

    >>> parse_split("Train Data"), parse_split("val2017"), parse_split("train_station")
    ('train', 'val', None)
    """
    plain = name.casefold()
    if plain in SPLIT_NAMES or not decorated:
        return SPLIT_NAMES.get(plain)
    words = [word for word in re.split(r"[\W\d_]+", plain) if word and word not in DECORATIONS]
    return _parse_word(words[0]) if len(words) == 1 else None


def _parse_word(word: str) -> str | None:
    """Return the split of one word, which a decoration may follow: `trainset`."""
    for split_word in sorted(SPLIT_NAMES, key=len, reverse=True):
        rest = word.removeprefix(split_word)
        if rest != word and (not rest or rest in DECORATIONS):
            return SPLIT_NAMES[split_word]
    return None


def find_split_layout(paths: Collection[PathParts], root: Path) -> SplitLayout:
    """Find out where the paths below `root` name their splits.

    A lone `train` beside other folders, with images directly in it, is a class (a vehicle).

    Raises:
        InputError: Splits lie beside other folders, or only some classes are divided into splits.
    """
    first = _find_first(paths, root)
    if first:
        return SplitLayout(first, doubled=_find_doubled(paths, first))
    return SplitLayout(second=_find_second(paths, root))


def _list_top_folders(paths: Collection[PathParts]) -> list[str]:
    tops = {p[0] for p in paths if len(p) > 1}
    return sorted(top for top in tops if top.casefold() not in UNLABELLED_FOLDERS)


def _find_first(paths: Collection[PathParts], root: Path) -> dict[str, str]:
    """Return the splits among the folders at the top."""
    tops = _list_top_folders(paths)
    splits = {top: split for top in tops if (split := parse_split(top))}
    plain = {top: splits[top] for top in splits if parse_split(top, decorated=False)}
    others = [top for top in tops if top not in splits]
    if not others:
        return splits
    deep = {
        p[0] for p in paths if len(p) > 2 or (len(p) == 2 and p[1].casefold() in METADATA_FILES)
    }
    is_ambiguous = plain and (set(plain.values()) != {"train"} or deep & set(plain))
    if is_ambiguous or _is_division(splits.values()):
        raise InputError(
            f"{escape_path(root)} holds {_format_folders(sorted(splits))} beside "
            f"{_format_folders(others)}: splits or "
            "classes? Move the other folders out or into a split, or rename the class folders"
        )
    return {}


def _find_doubled(paths: Collection[PathParts], first: dict[str, str]) -> frozenset[str]:
    """Return the split folders that hold nothing but one folder of the same split."""
    doubled = set()
    for top, split in first.items():
        inside = {p[1] if len(p) > 2 else "" for p in paths if p[0] == top and len(p) > 1}
        if len(inside) == 1 and parse_split(next(iter(inside))) == split:
            doubled.add(top)
    has_classes = {p[0] for p in paths if len(p) > 3}
    # a class may be called `train`: then some other split differs, and images lie directly in it
    return frozenset(doubled if doubled == set(first) else doubled & has_classes)


def _find_second(paths: Collection[PathParts], root: Path) -> dict[str, str]:
    """Return the splits among the folders inside the classes, if all classes are divided."""
    tops = _list_top_folders(paths)
    inside: dict[str, set[str]] = {top: set() for top in tops}
    for path in paths:
        if path[0] in inside and len(path) > 1:
            inside[path[0]].add(path[1] if len(path) > 2 else "")
    splits = {
        name: split for names in inside.values() for name in names if (split := parse_split(name))
    }
    divided = [top for top in tops if _is_division(splits.get(name) for name in inside[top])]
    if not divided:
        return {}
    for top in tops:
        if not inside[top] <= set(splits):
            rest = sorted(inside[top] - set(splits))[0]
            where = f"{escape_path(rest)}/" if rest else "images of no split"
            raise InputError(
                f"{escape_path(root / divided[0])} is divided into train and test, and "
                f"{escape_path(root / top)} holds {where}: put every image of every class into a "
                "split, or none"
            )
    return splits


def _is_division(splits: Iterable[str | None]) -> bool:
    """Whether these splits include train and another one."""
    found = {split for split in splits if split}
    return "train" in found and len(found) > 1


def _format_folders(names: list[str]) -> str:
    return list_first([f"{escape_path(name)}/" for name in names], 3)
