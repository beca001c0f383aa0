"""What ilk raises, drawn as a tree.

IlkError                    one sentence for a person: what, where, what to do
├── InputError              what was given cannot be used            (exit code 2)
│   ├── NoImages            an empty folder, or none of its files is an image
│   ├── NoLabels            images, but nothing to learn from
│   └── UnknownName         an encoder, method or bench nobody knows; offers the nearest
├── Unavailable             a package, weight file or device is not here (exit code 3)
├── ArtefactError           a model folder that is foreign, newer or altered (exit code 4)
├── checkpoint.Diverged     training left the finite numbers              (exit code 1)
└── OutputError             nothing could be written: full disk, read-only folder (exit code 5)
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 40  # names that a message lists


class IlkError(Exception):
    """The root of everything ilk raises on purpose."""

    exit_code = 1


class InputError(IlkError):
    """What was given cannot be used."""

    exit_code = 2


class NoImages(InputError):
    """There is no image to work on."""


class NoLabels(InputError):
    """There are images, but no label to learn from."""


class UnknownName(InputError):
    """A name that nothing answers to.

    >>> str(UnknownName("method", "GDDA", ["GDA", "Ridge"]))
    "no method is called 'GDDA'; the nearest are GDA"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        folded = {k.casefold(): k for k in known}
        near = [folded[n] for n in get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]
        more = f" and {len(known) - SHOWN:,} more" if len(known) > SHOWN else ""
        hint = f"known: {', '.join(known[:SHOWN])}{more}"
        if near:
            hint = f"the nearest are {', '.join(near)}"
        super().__init__(f"no {kind} is called {name!r}; {hint}")


class Unavailable(IlkError):
    """A package, a weight file or a device that is not on this machine."""

    exit_code = 3


class ArtefactError(IlkError):
    """A model folder that ilk will not open."""

    exit_code = 4


class OutputError(IlkError):
    """Nothing could be written."""

    exit_code = 5
