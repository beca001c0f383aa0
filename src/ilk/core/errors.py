"""The exceptions of ilk.

IlkError                    a message for the user: what, where, what to do (exit code 1)
├── InputError              invalid input (exit code 2)
│   ├── NoImages            an empty folder, or none of its files is an image
│   ├── NoLabels            images, but no label to learn from
│   └── UnknownName         no encoder, method or benchmark of that name; suggests the nearest
├── Unavailable             a missing package, weight file or device (exit code 3)
├── ArtifactError           a model folder that is foreign, newer or altered (exit code 4)
├── checkpoint.Diverged     training produced a value that is not finite (exit code 1)
└── OutputError             a failed write: full disk, read-only folder (exit code 5)
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from ilk.core.short_lists import list_first
from ilk.core.terminal_text import escape_line

MAX_LISTED_NAMES = 40  # names listed in a message


class IlkError(Exception):
    """Base class of the exceptions that ilk raises; their text is one printable line."""

    exit_code = 1

    def __str__(self) -> str:
        return escape_line(super().__str__())


class InputError(IlkError):
    """The input cannot be used."""

    exit_code = 2


class NoImages(InputError):
    """There are no images."""


class NoLabels(InputError):
    """There are images but no labels to learn from."""


class UnknownName(InputError):
    """An unknown name.

    >>> str(UnknownName("method", "GDDA", ["GDA", "Ridge"]))
    "no method is called 'GDDA'; the nearest is GDA"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        by_lowercase = {k.casefold(): k for k in known}
        nearest = [
            by_lowercase[n]
            for n in get_close_matches(name.casefold(), by_lowercase, n=3, cutoff=0.5)
        ]
        hint = f"known: {list_first(known, MAX_LISTED_NAMES)}"
        if nearest:
            verb = "is" if len(nearest) == 1 else "are"
            hint = f"the nearest {verb} {', '.join(nearest)}"
        super().__init__(f"no {kind} is called {name!r}; {hint}")


class Unavailable(IlkError):
    """A package, a weight file or a device that is missing on this machine."""

    exit_code = 3


class ArtifactError(IlkError):
    """A model folder that cannot be opened."""

    exit_code = 4


class OutputError(IlkError):
    """Output could not be written."""

    exit_code = 5
