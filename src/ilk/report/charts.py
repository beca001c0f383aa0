"""Charts as inline SVG, coloured by the page's own style sheet; no library, no script."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ilk.metrics import Interval
from ilk.report.figures import Bin
from ilk.report.words import bare

BAR = 120  # px
SIDE = 300  # of the reliability plot, px
LEFT, TOP, SCALE, COUNTS = 46, 10, 40, 58  # room beside the plot, px


def interval_bar(interval: Interval, low: float = 0.0, high: float = 1.0) -> Markup:
    """A track from `low` to `high`, the interval as a band on it, the value as a mark."""

    def x(share: float) -> float:
        return BAR * min(1.0, max(0.0, (share - low) / (high - low)))

    start, end = x(interval.low), x(interval.high)
    mark = min(max(x(interval.value), 1.5), BAR - 1.5)
    return Markup(
        '<svg class="bar" viewBox="0 0 {w} 12" width="{w}" height="12" aria-hidden="true">'
        '<rect class="track" x="0" y="5" width="{w}" height="2" rx="1"/>'
        '<rect class="band" x="{a:.1f}" y="2.5" width="{b:.1f}" height="7" rx="3"/>'
        '<rect class="mark" x="{m:.1f}" y="0" width="3" height="12" rx="1.5"/></svg>'
    ).format(w=BAR, a=start, b=max(end - start, 1.0), m=mark - 1.5)


def share_bar(share: float) -> Markup:
    """A plain bar from 0 to `share`, in [0, 1]."""
    return Markup(
        '<svg class="bar" viewBox="0 0 {w} 12" width="{w}" height="12" aria-hidden="true">'
        '<rect class="track" x="0" y="5" width="{w}" height="2" rx="1"/>'
        '<rect class="mark" x="0" y="2.5" width="{s:.1f}" height="7" rx="2"/></svg>'
    ).format(w=BAR, s=BAR * share)


def reliability_chart(bins: Sequence[Bin], count: int) -> Markup:
    """Stated certainty against the share right, with intervals, above the counts of the bins.

    Args:
        bins: The bins that hold an image.
        count: How many bins [0, 1] is cut into.
    """
    width, height = LEFT + SIDE + 10, TOP + SIDE + SCALE + COUNTS + 30
    parts = [_grid(), _curve(bins), _counts(bins, count)]
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-label="{label}">{parts}</svg>'
    ).format(
        w=width,
        h=height,
        label="Reliability curve: stated certainty across, share right upwards. "
        + "; ".join(
            f"stated {bare(b.stated)} %, right {bare(b.right.value)} % of {b.n:,}" for b in bins
        ),
        parts=Markup("").join(parts),
    )


def _x(share: float) -> float:
    return LEFT + SIDE * share


def _y(share: float) -> float:
    return TOP + SIDE * (1 - share)


def _grid() -> Markup:
    lines = Markup("")
    for i in range(0, 101, 25):
        at = i / 100
        lines += Markup(
            '<line class="grid" x1="{l:.0f}" x2="{r:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text x="{t:.0f}" y="{ty:.1f}" text-anchor="end">{i}</text>'
            '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{base:.0f}"/>'
            '<text x="{x:.1f}" y="{tb:.0f}" text-anchor="{anchor}">{label}</text>'
        ).format(
            l=_x(0),
            r=_x(1),
            y=_y(at),
            t=_x(0) - 6,
            ty=_y(at) + 4,
            i=i,
            x=_x(at),
            top=_y(1),
            base=_y(0),
            tb=_y(0) + 16,
            anchor="end" if i == 100 else "middle",
            label=f"{i} %" if i == 100 else i,
        )
    return lines + Markup(
        '<line class="ideal" x1="{a:.0f}" y1="{b:.0f}" x2="{c:.0f}" y2="{d:.0f}"/>'
        '<text x="{m:.0f}" y="{under:.0f}" text-anchor="middle">certainty stated</text>'
        '<text transform="translate(11 {n:.0f}) rotate(-90)" text-anchor="middle">'
        "named rightly</text>"
    ).format(a=_x(0), b=_y(0), c=_x(1), d=_y(1), m=_x(0.5), n=_y(0.5), under=_y(0) + 32)


def _curve(bins: Sequence[Bin]) -> Markup:
    line = " ".join(f"{_x(b.stated):.1f},{_y(b.right.value):.1f}" for b in bins)
    points = Markup("").join(
        Markup(
            '<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            '<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        ).format(x=_x(b.stated), y=_y(b.right.value), low=_y(b.right.low), high=_y(b.right.high))
        for b in bins
    )
    return Markup('<polyline class="curve" points="{}"/>{}').format(line, points)


def _counts(bins: Sequence[Bin], count: int) -> Markup:
    base, most = TOP + SIDE + SCALE + COUNTS + 6, max((b.n for b in bins), default=1)
    wide = SIDE / count
    bars = Markup("").join(
        Markup(
            '<rect class="count" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"/>'
            '<text x="{m:.1f}" y="{t:.1f}" text-anchor="middle">{n}</text>'
        ).format(
            x=_x(0) + b.index * wide + 2,
            y=base - (h := max(1.0, (COUNTS - 16) * b.n / most)),
            w=wide - 4,
            h=h,
            m=_x(0) + (b.index + 0.5) * wide,
            t=base - h - 4,
            n=short(b.n),
        )
        for b in bins
    )
    return bars + Markup(
        '<line class="axis" x1="{a:.0f}" x2="{b:.0f}" y1="{y}" y2="{y}"/>'
        '<text x="{m:.0f}" y="{t}" text-anchor="middle">images in each bin</text>'
    ).format(a=_x(0), b=_x(1), y=base, m=_x(0.5), t=base + 17)


def short(n: int) -> str:
    """A count in at most four characters: `950`, `1.3k`, `42k`, `1.2M`."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if n >= unit:
            return f"{n / unit:.1f}{name}" if n < 10 * unit else f"{n // unit}{name}"
    return str(n)
