"""Draw charts as inline SVG, coloured by the style sheet of the page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ilk.core.metrics import Interval
from ilk.report.formatting import format_percent_value
from ilk.report.metrics import ReliabilityBin

BAR_WIDTH = 120  # px
PLOT_SIDE = 300  # px
LEFT_MARGIN, TOP_MARGIN, AXIS_HEIGHT, COUNTS_HEIGHT = 46, 10, 40, 58  # px


def draw_interval_bar(interval: Interval, low: float = 0.0, high: float = 1.0) -> Markup:
    """Draw an interval as a band and its value as a mark, on a scale from `low` to `high`.

    On a scale of one value, everything is at its end.
    """

    def x(value: float) -> float:
        fraction = (value - low) / (high - low) if high > low else 1.0
        return BAR_WIDTH * min(1.0, max(0.0, fraction))

    start, end = x(interval.low), x(interval.high)
    mark = min(max(x(interval.value), 1.5), BAR_WIDTH - 1.5)
    return Markup(
        '<svg class="bar" viewBox="0 0 {w} 12" width="{w}" height="12" aria-hidden="true">'
        '<rect class="track" x="0" y="5" width="{w}" height="2" rx="1"/>'
        '<rect class="band" x="{a:.1f}" y="2.5" width="{b:.1f}" height="7" rx="3"/>'
        '<rect class="mark" x="{m:.1f}" y="0" width="3" height="12" rx="1.5"/></svg>'
    ).format(w=BAR_WIDTH, a=start, b=max(end - start, 1.0), m=mark - 1.5)


def draw_proportion_bar(proportion: float) -> Markup:
    """Draw a bar from 0 to `proportion`, which is in [0, 1]."""
    return Markup(
        '<svg class="bar" viewBox="0 0 {w} 12" width="{w}" height="12" aria-hidden="true">'
        '<rect class="track" x="0" y="5" width="{w}" height="2" rx="1"/>'
        '<rect class="mark" x="0" y="2.5" width="{s:.1f}" height="7" rx="2"/></svg>'
    ).format(w=BAR_WIDTH, s=BAR_WIDTH * proportion)


def draw_reliability_chart(bins: Sequence[ReliabilityBin], n_bins: int) -> Markup:
    """Draw a reliability diagram with intervals, and the number of images per bin below it.

    Args:
        bins: Bins that contain at least one image.
        n_bins: Number of bins into which [0, 1] is divided.
    """
    width, height = (
        LEFT_MARGIN + PLOT_SIDE + 10,
        TOP_MARGIN + PLOT_SIDE + AXIS_HEIGHT + COUNTS_HEIGHT + 30,
    )
    parts = [_draw_grid(), _draw_curve(bins), _draw_counts(bins, n_bins)]
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-label="{label}">{parts}</svg>'
    ).format(
        w=width,
        h=height,
        label="Reliability diagram: confidence on the x-axis, accuracy on the y-axis. "
        + "; ".join(
            f"confidence {format_percent_value(b.confidence)} %, "
            f"accuracy {format_percent_value(b.accuracy.value)} % of {b.n:,}"
            for b in bins
        ),
        parts=Markup("").join(parts),
    )


def _to_x(proportion: float) -> float:
    return LEFT_MARGIN + PLOT_SIDE * proportion


def _to_y(proportion: float) -> float:
    return TOP_MARGIN + PLOT_SIDE * (1 - proportion)


def _draw_grid() -> Markup:
    lines = Markup("")
    for i in range(0, 101, 25):
        position = i / 100
        lines += Markup(
            '<line class="grid" x1="{l:.0f}" x2="{r:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text x="{t:.0f}" y="{ty:.1f}" text-anchor="end">{i}</text>'
            '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{base:.0f}"/>'
            '<text x="{x:.1f}" y="{tb:.0f}" text-anchor="{anchor}">{label}</text>'
        ).format(
            l=_to_x(0),
            r=_to_x(1),
            y=_to_y(position),
            t=_to_x(0) - 6,
            ty=_to_y(position) + 4,
            i=i,
            x=_to_x(position),
            top=_to_y(1),
            base=_to_y(0),
            tb=_to_y(0) + 16,
            anchor="end" if i == 100 else "middle",
            label=f"{i} %" if i == 100 else i,
        )
    return lines + Markup(
        '<line class="ideal" x1="{a:.0f}" y1="{b:.0f}" x2="{c:.0f}" y2="{d:.0f}"/>'
        '<text x="{m:.0f}" y="{under:.0f}" text-anchor="middle">confidence</text>'
        '<text transform="translate(11 {n:.0f}) rotate(-90)" text-anchor="middle">'
        "accuracy</text>"
    ).format(
        a=_to_x(0),
        b=_to_y(0),
        c=_to_x(1),
        d=_to_y(1),
        m=_to_x(0.5),
        n=_to_y(0.5),
        under=_to_y(0) + 32,
    )


def _draw_curve(bins: Sequence[ReliabilityBin]) -> Markup:
    line = " ".join(f"{_to_x(b.confidence):.1f},{_to_y(b.accuracy.value):.1f}" for b in bins)
    points = Markup("").join(
        Markup(
            '<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            '<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        ).format(
            x=_to_x(b.confidence),
            y=_to_y(b.accuracy.value),
            low=_to_y(b.accuracy.low),
            high=_to_y(b.accuracy.high),
        )
        for b in bins
    )
    return Markup('<polyline class="curve" points="{}"/>{}').format(line, points)


def _draw_counts(bins: Sequence[ReliabilityBin], n_bins: int) -> Markup:
    base, largest = (
        TOP_MARGIN + PLOT_SIDE + AXIS_HEIGHT + COUNTS_HEIGHT + 6,
        max((b.n for b in bins), default=1),
    )
    bin_width = PLOT_SIDE / n_bins
    bars = Markup("").join(
        Markup(
            '<rect class="count" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"/>'
            '<text x="{m:.1f}" y="{t:.1f}" text-anchor="middle">{n}</text>'
        ).format(
            x=_to_x(0) + b.index * bin_width + 2,
            y=base - (h := max(1.0, (COUNTS_HEIGHT - 16) * b.n / largest)),
            w=bin_width - 4,
            h=h,
            m=_to_x(0) + (b.index + 0.5) * bin_width,
            t=base - h - 4,
            n=abbreviate_count(b.n),
        )
        for b in bins
    )
    return bars + Markup(
        '<line class="axis" x1="{a:.0f}" x2="{b:.0f}" y1="{y}" y2="{y}"/>'
        '<text x="{m:.0f}" y="{t}" text-anchor="middle">images per bin</text>'
    ).format(a=_to_x(0), b=_to_x(1), y=base, m=_to_x(0.5), t=base + 17)


def abbreviate_count(n: int) -> str:
    """Return a count in at most four characters, such as `950`, `1.3k`, `42k` or `1.2M`."""
    for unit, suffix in ((1_000_000, "M"), (1_000, "k")):
        if n >= unit:
            return f"{n / unit:.1f}{suffix}" if n < 10 * unit else f"{n // unit}{suffix}"
    return str(n)
