"""What `ilk audit` prints and writes: ranked labels, confused classes, the effect of cleaning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.cli.output import print_note, print_table

if TYPE_CHECKING:
    from ilk.cli.audit_labels import AuditedLabels
    from ilk.core.metrics import Scores
    from ilk.fitting.label_audit import CleaningEffect
    from ilk.trust.label_errors import LabelErrors

CSV_HEADER = ("path", "label", "suggested", "score", "suspect")


def list_labels(audited: AuditedLabels, label_errors: LabelErrors) -> list[dict[str, Any]]:
    """Return the ranked labels as mappings with the keys of `CSV_HEADER`."""
    names = audited.data.classes
    columns = zip(
        label_errors.rows,
        label_errors.suggested_label,
        label_errors.score,
        label_errors.is_suspect,
        strict=True,
    )
    return [
        {
            "path": str(audited.images.shown_path_of(audited.rows[i])),
            "label": names[audited.data.y[i]],
            "suggested": names[suggested],
            "score": float(score),
            "suspect": bool(is_suspect),
        }
        for i, suggested, score, is_suspect in columns
    ]


def list_confused_pairs(audited: AuditedLabels, label_errors: LabelErrors) -> list[dict[str, Any]]:
    """Return the most confused pairs of classes with the estimated number of images."""
    from ilk.fitting.label_audit import find_confused_pairs

    names = audited.data.classes
    return [
        {"label": names[a], "likely": names[b], "images": n}
        for a, b, n in find_confused_pairs(label_errors)
    ]


def write_csv(out: Path, audited: AuditedLabels, label_errors: LabelErrors) -> None:
    """Write every audited label as a line of the CSV file `out`."""
    from ilk.core.atomic_write import write_atomically
    from ilk.core.csv_cells import CsvFormatter

    format_line = CsvFormatter().format
    lines = [format_line(CSV_HEADER)]
    for row in list_labels(audited, label_errors):
        cells = (row["path"], row["label"], row["suggested"], f"{row['score']:.6f}")
        lines.append(format_line((*cells, str(row["suspect"]).lower())))
    write_atomically(out, "".join(lines).encode("utf-8", "surrogateescape"))


def show_labels(audited: AuditedLabels, label_errors: LabelErrors, limit: int, out: Path) -> None:
    """Print the first `limit` labels, the most confused classes and notes on their reliability.

    `out` is the file that lists all labels.
    """
    print_table(
        CSV_HEADER[:4],
        [
            (row["path"], row["label"], row["suggested"], f"{row['score']:.3f}")
            for row in list_labels(audited, label_errors)[: max(0, limit)]
        ],
    )
    pairs = list_confused_pairs(audited, label_errors)
    if pairs:
        print_table(
            ("label", "likely class", "images, estimated"),
            [(pair["label"], pair["likely"], f"{pair['images']:.0f}") for pair in pairs],
        )
    _show_reliability(audited, label_errors, out)


def _show_reliability(audited: AuditedLabels, label_errors: LabelErrors, out: Path) -> None:
    """Print how far the classifier behind the ranking agrees with the labels."""
    from ilk.core.contracts import describe
    from ilk.fitting.suspect_labels import describe_suspects

    encoder, method = audited.leaderboard.winner
    scores, probabilities = audited.leaderboard.results[0].scores, audited.leaderboard.probabilities
    assert scores is not None, "the winner has scores"
    assert probabilities is not None, "and probabilities"
    print_note(
        f"the predictions are those of {describe(method)} on {encoder}, which agrees with "
        f"{scores.accuracy.value:.1%} of {scores.n:,} labels in cross-validation"
    )
    suspects = describe_suspects(label_errors, probabilities, audited.data.y, out.name)
    print_note(suspects or "no label disagrees with a confident prediction")
    if n_untested := int((audited.data.y >= 0).sum()) - len(label_errors.rows):
        print_note(
            f"{n_untested:,} labelled images are the only ones of their class and were not audited"
        )


def show_effect(effect: CleaningEffect) -> None:
    """Print cross-validated scores after removing and relabelling the worst training labels."""
    rows: list[Sequence[str]] = [("as given", *_format_scores(effect.baseline), "–")]
    for result in effect.results:
        for action, scores, p_value in (
            ("removed", result.removed, result.removed_p_value),
            ("relabelled", result.relabelled, result.relabelled_p_value),
        ):
            name = f"worst {result.fraction:.1%} {action}"
            rows.append((name, *_format_scores(scores), f"{p_value:.3f}"))
    print_table(("training labels", "accuracy", "log loss", "p-value"), rows)
    print_note(
        "scores are measured against the given labels of held-out images, which may be wrong too; "
        "systematic confusions cannot be detected this way"
    )


def _format_scores(scores: Scores) -> tuple[str, str]:
    return f"{scores.accuracy.value:.4f}", f"{scores.log_loss:.4f}"
