"""Whether the parts of a shard folder hold every row of the manifest exactly once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ilk.core.errors import ArtifactError
from ilk.images.rows import escape_path
from ilk.shards.manifest import Manifest
from ilk.shards.parts import check_part, read_features, read_outcomes
from ilk.shards.spaces import ShardSpace


@dataclass(frozen=True)
class Count:
    """What was found.

    Attributes:
        n_expected: Rows of the manifest in the shards that were looked at.
        n_rows: Rows in parts that are done.
        n_refused: Those of them without features.
        n_transient: Those of the refused that may be readable another time.
        missing: Numbers of shards without a part.
        damaged: Numbers of shards whose part is cut off or damaged.
    """

    n_expected: int
    n_rows: int
    n_refused: int
    n_transient: int
    missing: tuple[int, ...]
    damaged: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether there are as many rows as the manifest has."""
        return self.n_rows == self.n_expected

    def describe(self, manifest: Manifest) -> str:
        """Return what is lacking in one sentence."""
        words = [
            f"{len(shards):,} {word} (such as {shards[0]})"
            for shards, word in ((self.missing, "missing"), (self.damaged, "damaged"))
            if shards
        ]
        advice = "run `ilk encode` again, which encodes what is missing"
        if self.damaged:
            advice = f"delete the damaged parts and {advice}"
        return (
            f"the parts hold {self.n_rows:,} of the {self.n_expected:,} rows of "
            f"{escape_path(manifest.path)}: of {manifest.n_shards:,} shards, "
            f"{' and '.join(words)}; {advice}"
        )


def count_rows(
    manifest: Manifest, space: ShardSpace, numbers: Iterable[int], *, whole: bool = False
) -> Count:
    """Count the rows of the parts of some shards.

    Args:
        manifest: The manifest.
        space: The encoder.
        numbers: Numbers of the shards.
        whole: Read every byte and compare each row with the manifest; else only the footers.

    Raises:
        ArtifactError: A part is of other images or weights.
    """
    n_expected = n_rows = n_refused = n_transient = 0
    missing: list[int] = []
    damaged: list[int] = []
    for i in numbers:
        n_expected += manifest.shards[i].n
        state, part = check_part(manifest, space, i)
        if whole and part is not None and not _is_intact(manifest, space, i):
            state, part = "damaged", None
        if part is None:
            (missing if state == "missing" else damaged).append(i)
            continue
        n_rows += part.n
        n_refused += part.n_refused
        n_transient += part.n_transient
    return Count(n_expected, n_rows, n_refused, n_transient, tuple(missing), tuple(damaged))


def _is_intact(manifest: Manifest, space: ShardSpace, i: int) -> bool:
    """Whether all bytes of a part are as they were written, and its rows those of the manifest."""
    try:
        columns = read_outcomes(space, i, ["row", "digest"])
        read_features(space, i)
    except ArtifactError:
        return False
    shard = manifest.shards[i]
    rows = list(range(shard.start, shard.start + shard.n))
    return columns["row"] == rows and columns["digest"] == manifest.read_columns(i)["digest"]
