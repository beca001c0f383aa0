"""What `ilk add` prints: how predictions change when classes are added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilk.cli.output import print_table

if TYPE_CHECKING:
    from ilk.updates.extension_report import ExtensionReport


def summarize(report: ExtensionReport) -> str:
    """Say in a few sentences what was added and how predictions changed."""
    from ilk.report.formatting import format_count

    additions = ", ".join(
        f"{format_count(n, 'image')} of {name}" for name, n in report.n_images.items()
    )
    text = f"{report.date}: {additions} added in {report.seconds:.1f} seconds."
    if report.old_agreement is None:
        return f"{text} No image of the other classes was held out to measure the effect on them."
    text += (
        f" Of {report.n_old_rows:,} held-out images of the other classes, "
        f"{report.old_agreement:.1%} are predicted as before and {report.taken_by_new:.1%} are "
        "predicted as a class with added images"
    )
    recalls = [f"{name} {value:.1%}" for name, value in report.recall.items() if value is not None]
    if recalls:
        text += f"; leave-one-out recall of the added images: {', '.join(recalls)}"
    single = [name for name, value in report.recall.items() if value is None]
    if single:
        text += f"; recall is unknown for {', '.join(single)}, which has a single image"
    return text + "."


def show_report(report: ExtensionReport) -> None:
    """Print how the predictions for the other classes compare before and after."""

    def format_value(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    print_table(
        ("metric on held-out images", "before", "after"),
        [
            ("accuracy on the other classes", *map(format_value, report.old_accuracy)),
            ("calibration error", *map(format_value, report.calibration_error)),
            ("predicted as before", "", format_value(report.old_agreement)),
            ("predicted as a class with added images", "", format_value(report.taken_by_new)),
            ("largest change of a difference of logits", "", f"{report.max_logit_change:.3g}"),
            ("(median difference of the top two)", f"{report.median_margin:.3g}", ""),
            *[(f"recall of {name}", "", format_value(v)) for name, v in report.recall.items()],
        ],
    )
