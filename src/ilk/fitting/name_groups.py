"""What file names and EXIF suggest as groups: folders, prefixes, bursts and running numbers.

A name alone is not evidence. A suggestion counts if images that it puts together look alike: far
more of them have their nearest neighbour of the same class in their own group than chance gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import UNGROUPED, Labels
from ilk.images import Row

PATTERNS = (
    r"([^/]+)/[^/]+$",  # the folder
    r"([^/_. -]+)[_. -][^/]*$",  # up to the first separator
    r"([^/]+)[_. -][^/_. -]*\.[^/.]*$",  # up to the last separator
    r"([^/\d]*\d+)[^/\d][^/]*\d[^/]*\.[^/.]*$",  # the first number and what comes before it
)
PREFIX_AND_NUMBER = re.compile(r"([A-Za-z]+)\d+")
RUNNING_NUMBER = re.compile(r"(.*?)(\d+)(\.[^./]*)?$")
BURST_SECONDS = 60.0
MIN_Z = 5.0  # standard deviations above chance
MIN_SHARE = 0.5  # of the images whose nearest neighbour is in their own group
TIME_FORMAT = "%Y:%m:%d %H:%M:%S"


@dataclass(frozen=True, eq=False)
class NameGroups:
    """Groups that names or EXIF suggest.

    Attributes:
        group: Group of each row, `[n]`; -1 for none.
        pattern: Regular expression that finds the group in a path, for `--group-from`; "" where
            there is none.
        source: What the groups come from, in words.
    """

    group: Labels
    pattern: str
    source: str


def iter_name_groups(rows: Sequence[Row]) -> Iterator[NameGroups]:
    """Yield the groups of rows that parts of their paths suggest, then bursts of one camera."""
    paths = [row.path.replace("\\", "/") for row in rows]
    for text in PATTERNS:
        pattern = re.compile(text)
        found = [match.group(1) if (match := pattern.search(path)) else "" for path in paths]
        if len(set(found)) > 1:
            yield NameGroups(number_names(found), _shorten(text, paths, found), "file names")
    bursts = find_bursts(rows)
    if (bursts >= 0).any():
        yield NameGroups(bursts, "", "pictures of one camera within a minute (EXIF)")


def is_supported(group: Labels, nearest: Labels, y: Labels) -> bool:
    """Whether images of one group look alike, beyond those of their class.

    Each group has one vote, the share of its images whose nearest neighbour is in it, because its
    images may be the same; under chance its expectation is the share of the group in its class.

    Args:
        group: Group of each row, `[n]`; -1 for none.
        nearest: Nearest row of the same class, `[n]`; -1 where there is none.
        y: Class of each row, `[n]`.
    """
    rows = np.flatnonzero((group >= 0) & (nearest >= 0))
    if not len(rows):
        return False
    n, k = int(group.max()) + 1, int(y.max()) + 1
    _, index, sizes = np.unique(group[rows] * k + y[rows], return_inverse=True, return_counts=True)
    class_size = np.bincount(y[y >= 0], minlength=k)
    others = sizes[index] - 1
    rows, others = rows[others > 0], others[others > 0]
    if not len(rows):
        return False
    chance = others / (class_size[y[rows]] - 1)
    is_hit = group[nearest[rows]] == group[rows]
    n_rows = np.bincount(group[rows], minlength=n)
    votes = n_rows > 0
    expected = np.bincount(group[rows], chance, n)[votes] / n_rows[votes]
    share = np.bincount(group[rows], is_hit, n)[votes] / n_rows[votes]
    deviation = np.sqrt((expected * (1 - expected)).sum())
    excess = (share - expected).sum()
    return bool(share.mean() >= MIN_SHARE and deviation > 0 and excess / deviation >= MIN_Z)


def find_bursts(rows: Sequence[Row]) -> Labels:
    """Return groups of pictures that one camera took within a minute of the next, `[n]`, or -1."""
    by_camera: dict[str, list[tuple[float, int]]] = {}
    for i, row in enumerate(rows):
        if row.camera and (seconds := _parse_time(row.taken)) is not None:
            by_camera.setdefault(row.camera, []).append((seconds, i))
    group, n_groups = np.full(len(rows), UNGROUPED), 0
    for pictures in by_camera.values():
        pictures.sort()
        times = np.array([seconds for seconds, _ in pictures])
        burst = np.cumsum(np.diff(times, prepend=times[0]) > BURST_SECONDS)
        for number in range(int(burst[-1]) + 1):
            members = [pictures[j][1] for j in np.flatnonzero(burst == number)]
            if len(members) > 1:
                group[members] = n_groups
                n_groups += 1
    return group


def find_number_pairs(rows: Sequence[Row], nearest: Labels, y: Labels) -> NDArray[np.int64]:
    """Return pairs `[m, 2]` of one class with successive numbers that are nearest neighbours.

    There are none unless far more of the successive numbers are so than chance gives.

    Args:
        rows: Images, `n` of them.
        nearest: Nearest row of the same class, `[n]`; -1 where there is none.
        y: Class of each row, `[n]`.
    """
    position: dict[tuple[str, int, int], int] = {}
    for i, row in enumerate(rows):
        if match := RUNNING_NUMBER.match(row.path):
            position[match.group(1), len(match.group(2)), int(match.group(2))] = i
    pairs = [
        (i, j)
        for (stem, width, number), i in position.items()
        if (j := position.get((stem, width, number + 1))) is not None and y[i] == y[j] >= 0
    ]
    if not pairs:
        return np.zeros((0, 2), np.int64)
    both = np.array(pairs)
    first, second = both.T
    is_close = (nearest[first] == second) | (nearest[second] == first)
    sizes = np.bincount(y[y >= 0])[y[first]]
    chance = np.minimum(2 / np.maximum(sizes - 1, 1), 1)
    deviation = np.sqrt((chance * (1 - chance)).sum())
    if not deviation or (is_close.sum() - chance.sum()) / deviation < MIN_Z:
        return np.zeros((0, 2), np.int64)
    return np.asarray(both[is_close], np.int64)


def number_names(names: Sequence[str]) -> Labels:
    """Return a number from 0 for each name, `[n]`; -1 for empty ones and those that occur once."""
    unique, index, counts = np.unique(names, return_inverse=True, return_counts=True)
    is_group = (counts > 1) & (unique != "")
    numbers = np.where(is_group, np.cumsum(is_group) - 1, UNGROUPED)
    return np.asarray(numbers[index], np.int64)


def _shorten(pattern: str, paths: Sequence[str], names: Sequence[str]) -> str:
    """Return a pattern that says what the names look like, if they are a word and a number."""
    words = {m.group(1) if (m := PREFIX_AND_NUMBER.fullmatch(name)) else "" for name in names}
    if len(words) != 1 or words == {""} or pattern not in PATTERNS[1:]:
        return pattern
    ends = {path.rpartition("/")[2][len(name)] for path, name in zip(paths, names, strict=True)}
    start = "(?:^|/)" if any("/" in path for path in paths) else "^"
    end = f"[{re.escape(''.join(sorted(ends)))}]" if len(ends) > 1 else re.escape(ends.pop())
    short = rf"{start}({words.pop()}\d+){end}"
    found = [match.group(1) if (match := re.search(short, path)) else "" for path in paths]
    return short if found == list(names) else pattern


def _parse_time(text: str) -> float | None:
    try:
        return datetime.strptime(text, TIME_FORMAT).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
