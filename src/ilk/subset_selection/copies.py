"""Copies of one picture among training images: which are kept, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.capabilities import Embeds
from ilk.core.progress import Progress, silent_progress
from ilk.deduplication.find_groups import find_groups
from ilk.images import Images
from ilk.images.duplicates.near_pairs import CONFLICT, LEAK
from ilk.store import Store

COPY, CONFLICTING, LEAKING = "copy", "copy under another label", "copy of a test image"


@dataclass(frozen=True)
class Copies:
    """Copies among the training images of a source.

    Attributes:
        images: The source; files that cannot be decoded are refused.
        reasons: Why a file is left out, by its position among the rows: `COPY`, `CONFLICTING` or
            `LEAKING`, and the path of the file that it is a copy of.
    """

    images: Images
    reasons: dict[int, tuple[str, str]]

    def count(self, reason: str) -> int:
        """Return how many files are left out for `reason`."""
        return sum(why == reason for why, _ in self.reasons.values())


def find_copies(
    images: Images,
    encoder: Embeds,
    store: Store,
    *,
    seed: int = 0,
    progress: Progress = silent_progress,
) -> Copies:
    """Find training images that are copies of others, by `ilk.deduplication`.

    Of several copies one is kept, the one that `ilk duplicates` suggests. None is kept of a picture
    under two labels, or of one that the test part holds.

    Args:
        images: The whole source, all splits.
        encoder: Gives the features.
        store: Features and summaries of pixels.
        seed: Seed of the copies that are made to learn what copies look like.
        progress: Reports the progress of long operations.
    """
    found = find_groups(images, encoder, store, seed=seed, progress=progress)
    reasons: dict[int, tuple[str, str]] = {}
    for group in found.groups:
        train = [member for member in group.members if member.split == "train"]
        if group.concerns == LEAK:
            other = next(m.path for m in group.members if m.split != "train")
            reasons |= {m.position: (LEAKING, other) for m in train}
        elif group.concerns == CONFLICT:
            reasons |= {
                m.position: (CONFLICTING, next(o.path for o in group.members if o is not m))
                for m in train
            }
        else:  # the one to keep comes first
            reasons |= {m.position: (COPY, train[0].path) for m in train[1:]}
    return Copies(found.images, reasons)
