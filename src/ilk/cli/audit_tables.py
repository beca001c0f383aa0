"""What `ilk audit` says: ranked labels as CSV and table, confused kinds, what repairs change."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.options import table

if TYPE_CHECKING:
    from ilk.board import Leaderboard
    from ilk.data import Data
    from ilk.images import Images, Row
    from ilk.metrics import Scores
    from ilk.trust.audit import Effect
    from ilk.trust.suspects import Suspects

HEAD = ("path", "label", "suggested", "score", "suspect")


@dataclass(frozen=True, eq=False)
class Seen:
    """Labelled images as the winner of a leaderboard sees them."""

    images: Images
    rows: tuple[Row, ...]
    data: Data
    board: Leaderboard


def lines(seen: Seen, found: Suspects) -> list[tuple[str, str, str, str, str]]:
    """Ranked labels as text, under `HEAD`."""
    names = seen.data.classes
    columns = zip(found.rows, found.suggested, found.score, found.is_suspect, strict=True)
    return [
        (
            str(seen.images.file(seen.rows[i])),
            names[seen.data.y[i]],
            names[other],
            f"{score:.6f}",
            str(bool(doubted)).lower(),
        )
        for i, other, score, doubted in columns
    ]


def write(out: Path, seen: Seen, found: Suspects) -> None:
    """Every judged label as a line of the CSV file `out`."""
    from ilk.artefact import write_file

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(lines(seen, found))
    write_file(out, text.getvalue().encode("utf-8", "surrogateescape"))


def show_labels(seen: Seen, found: Suspects, most: int) -> None:
    """The first labels, the kinds that are confused, and what judged them."""
    from ilk.models import describe
    from ilk.trust.audit import confused

    table(HEAD[:4], [(*line[:3], line[3][:5]) for line in lines(seen, found)[: max(0, most)]])
    names = seen.data.classes
    pairs = [(names[a], names[b], f"{n:.0f}") for a, b, n in confused(found)]
    if pairs:
        table(("labelled", "but likely", "images, estimated"), pairs)
    encoder, method = seen.board.winner
    doubted, scores = int(found.is_suspect.sum()), seen.board.results[0].scores
    assert scores is not None, "the winner was measured"
    _note(
        f"judged by {describe(method)} on {encoder}, which agrees with {scores.accuracy.value:.1%} "
        f"of {scores.n:,} labels it did not see; {doubted:,} look wrong to it"
        + (
            ". The more often it errs itself, the more of those are right: look at the pictures "
            "before changing a label"
            if doubted
            else ""
        )
    )
    if left_out := int((seen.data.y >= 0).sum()) - len(found.rows):
        _note(f"{left_out:,} labelled images have no other of their class and were not judged")


def show_effect(found: Effect) -> None:
    """Cross-validated scores by what is done to the worst labels of the training parts."""
    rows: list[Sequence[str]] = [("as given", *_figures(found.given), "–")]
    for one in found.cleaned:
        for what, scores, p in (
            ("dropped", one.removed, one.removed_p),
            ("relabelled", one.relabelled, one.relabelled_p),
        ):
            rows.append((f"worst {one.share:.1%} {what}", *_figures(scores), f"{p:.3f}"))
    table(("labels learnt from", "accuracy", "log loss", "p"), rows)
    _note(
        "each score is of held-out images under the labels they have, which may be wrong too: what "
        "people confuse alike everywhere, this cannot show"
    )


def _figures(scores: Scores) -> tuple[str, str]:
    return f"{scores.accuracy.value:.4f}", f"{scores.log_loss:.4f}"


def _note(text: str) -> None:
    click.echo(f"· {text}")
