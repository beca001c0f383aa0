"""The status of a session as lines of text."""

from __future__ import annotations

from ilk.core.terminal_text import escape_line
from ilk.labelling.audit import AuditResult
from ilk.labelling.learning_curve import explain_missing
from ilk.labelling.results import Progress


def format_status(progress: Progress) -> list[str]:
    """Return where a session stands, one printable line per fact."""
    n_open = progress.n_images - progress.n_given - progress.n_labelled - progress.n_unsure
    counts = (
        f"{progress.n_images:,}: {progress.n_given:,} with a given label, "
        f"{progress.n_labelled:,} labelled, {progress.n_unsure:,} unsure, {max(n_open, 0):,} open"
    )
    classes = ", ".join(f"{name} {n:,}" for name, n in progress.counts.items()) or "none yet"
    lines = [f"images      {counts}", f"classes     {classes}"]
    if progress.answers:
        by = ", ".join(f"{name} {n:,}" for name, n in progress.answers.items())
        lines.append(f"answers     {by}")
    lines.append(f"accuracy    {_format_audit(progress.audit)}")
    if progress.curve is not None:
        lines.append(f"more labels {progress.curve.sentence}")
    elif progress.audit is not None:
        n_labels = sum(progress.counts.values())
        lines.append(f"more labels {explain_missing(progress.audit.n, n_labels)}")
    for pair in progress.agreement:
        lines.append(
            f"agreement   {pair.annotators[0]} and {pair.annotators[1]}: Cohen's kappa "
            f"{pair.kappa} on {pair.n:,} images"
        )
    lines += [f"note        {note}" for note in progress.notes]
    return [escape_line(line) for line in lines]


def _format_audit(audit: AuditResult | None) -> str:
    if audit is None:
        return "not known yet; to measure it, the page asks about some images drawn at random"
    return (
        f"{audit.accuracy} on {audit.n:,} random images that the model had not learned from; the "
        f"mean probability of its answers is {audit.confidence:.3f}"
    )
