"""What `ilk duplicates` says and writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.images.duplicates.near_pairs import LEAK

if TYPE_CHECKING:
    from ilk.deduplication.groups import DuplicateGroups, Member

COLUMNS = (
    *("group", "path", "keep", "of", "evidence", "similarity", "cosine", "share", "mirrored"),
    *("concerns", "label", "split", "width", "height", "bytes"),
)
LOW_RECALL = 0.5


def describe_duplicates(found: DuplicateGroups) -> list[str]:
    """Return sentences on what was found and how far it can be trusted."""
    from ilk.deduplication.evidence import KINDS
    from ilk.images.duplicates.near_pairs import CONCERNS

    notes = []
    concerns = found.count_concerns()
    for concern, meaning in CONCERNS.items():
        if n := concerns[concern]:
            subject = "1 picture occurs" if n == 1 else f"{n:,} pictures occur"
            notes.append(f"{subject} more than once {meaning}")
    if n := sum(group.concerns == LEAK and len(group.labels) > 1 for group in found.groups):
        notes.append(f"{n:,} of those in both training and test also have two labels")
    counts = found.count_evidence()
    pairs = [f"{kind} {counts[kind]:,}" for kind in KINDS if counts[kind]]
    if pairs:
        notes.append(f"pairs by evidence: {', '.join(pairs)}")
    else:
        notes.append(f"no two of {found.n_pictures:,} pictures are the same")
    if found.threshold is None:
        return notes
    known, n = found.threshold, found.n_pictures
    notes.append(
        f"{known.n_candidates:,} of {n * (n - 1) // 2:,} pairs, the most similar by features of "
        f"{found.encoder}, were aligned; at most {known.false_matches:g} wrong "
        f"{'pair is' if known.false_matches == 1 else 'pairs are'} expected (estimate: "
        f"{known.expected:.2g})"
    )
    if found.recall:
        shares = [
            f"{share:.0%} {kind}".replace("%", " %", 1) for kind, share in found.recall.items()
        ]
        notes.append(f"test with copies made of these pictures; found: {', '.join(shares)}")
    if weak := [kind for kind, share in found.recall.items() if share < LOW_RECALL]:
        notes.append(f"most copies that are {', '.join(weak)} are missed; try another --encoder")
    if found.n_left_out:
        notes.append(
            f"{found.n_left_out:,} more pairs with similar features were too many to compare; the "
            "most similar ones were compared"
        )
    return notes


def write_groups(found: DuplicateGroups, path: Path) -> None:
    """Write the groups as .csv, a line per file, or as .json.

    Raises:
        OutputError: The file cannot be written.
    """
    from ilk.cli.output import to_plain
    from ilk.core.atomic_write import write_atomically
    from ilk.core.csv_cells import CsvFormatter
    from ilk.core.plain_json import encode_json

    if path.suffix.casefold() == ".json":
        write_atomically(path, encode_json(to_plain(found.to_json())))
        return
    formatter = CsvFormatter()
    lines = [formatter.format(COLUMNS)]
    for number, group in enumerate(found.groups, 1):
        lines += [
            formatter.format(_list_cells(number, member, group.concerns))
            for member in group.members
        ]
    write_atomically(path, "".join(lines).encode("utf-8", "surrogateescape"))


def _list_cells(number: int, member: Member, concerns: str) -> list[Any]:
    return [
        number,
        member.path,
        "yes" if member.keep else "no",
        member.of,
        member.evidence,
        f"{member.similarity:.4f}",
        "" if member.cosine is None else f"{member.cosine:.4f}",
        f"{member.share:.3f}",
        "yes" if member.is_mirrored else "no",
        concerns,
        member.label or "",
        member.split,
        member.width,
        member.height,
        member.size,
    ]
