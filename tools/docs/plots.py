"""Draws the plots in `docs/plots` from the results of the benchmarks; same results, same bytes.

`tools.docs.plot_spec` describes the format of a plot. matplotlib is imported only when a plot is
drawn.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ilk.core.errors import InputError, Unavailable
from tools.docs.plot_spec import Spec, check_spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#0060a8", "#d1495b", "#2a9d5c", "#8f5bb5", "#c97b12", "#3b3b3b", "#18a3b8", "#9a9a9a")
MARKERS = "osD^vPXh"
TEXT_COLOR, MUTED_COLOR = "#333333", "#777777"
RC_PARAMS = {
    "svg.hashsalt": "ilk",
    "svg.fonttype": "none",  # text stays text: a tenth of the size, and searchable
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10.0,
    "axes.edgecolor": MUTED_COLOR,
    "axes.labelcolor": TEXT_COLOR,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "text.color": TEXT_COLOR,
    "xtick.color": MUTED_COLOR,
    "ytick.color": MUTED_COLOR,
    "xtick.labelcolor": TEXT_COLOR,
    "ytick.labelcolor": TEXT_COLOR,
}


def draw_all(records: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    """Return every plot of the benchmarks' results `{name: record}` as `{file name: SVG}`.

    Raises:
        InputError: If a specification is invalid, or two plots have the same file name.
        Unavailable: If matplotlib is not installed.
    """
    svgs: dict[str, bytes] = {}
    for name, record in sorted(records.items()):
        for spec in record["result"].get("plots", ()):
            svg = draw(spec)
            if spec["file"] in svgs:
                raise InputError(
                    f"{name}: another plot is called {spec['file']} already; rename one"
                )
            svgs[spec["file"]] = svg
    return svgs


def draw(spec: Spec) -> bytes:
    """Return one plot as SVG; the same specification gives the same bytes.

    Raises:
        InputError: If the specification is invalid.
        Unavailable: If matplotlib is not installed.
    """
    check_spec(spec)
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise Unavailable("drawing plots requires matplotlib: `pip install matplotlib`") from None
    painters = {"lines": _draw_lines, "heat": _draw_heatmap, "histogram": _draw_histogram}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignores the settings of the user
        matplotlib.rcParams.update(RC_PARAMS)
        figure = Figure(figsize=_figure_size(spec), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        painters[spec["kind"]](axes, spec)
        axes.set(title=spec["title"], xlabel=spec["x"], ylabel=spec["y"])
        buffer = BytesIO()
        metadata = {"Date": None, "Creator": None, "Title": spec["title"]}
        figure.savefig(buffer, format="svg", metadata=metadata)
    return buffer.getvalue()


def _figure_size(spec: Spec) -> tuple[float, float]:
    """Return width and height in inches; a heat map grows with its cells."""
    if spec["kind"] == "heat":
        return 2.4 + 0.62 * len(spec["columns"]), 1.5 + 0.34 * len(spec["rows"])
    return 6.4, 4.0


def _draw_lines(axes: Axes, spec: Spec) -> None:
    for i, (name, points) in enumerate(spec["series"].items()):
        colour, shape = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
        points = sorted(points, key=lambda p: p[0])
        x, y = [p[0] for p in points], [p[1] for p in points]
        axes.plot(x, y, color=colour, marker=shape, markersize=4, linewidth=1.6, label=name)
        banded = [p for p in points if len(p) == 4 and None not in p]
        if len(banded) == 1:
            axes.vlines(banded[0][0], banded[0][2], banded[0][3], color=colour, alpha=0.5)
        elif banded:
            across, _, low, high = zip(*banded, strict=True)
            axes.fill_between(across, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.grid(True)
    for i, (label, at) in enumerate(spec.get("marks", {}).items()):
        dashes = ("--", "-.", ":")[i % 3]
        axes.axvline(at, color=MUTED_COLOR, linestyle=dashes, linewidth=1, label=label)
    for label, at in spec.get("levels", {}).items():
        axes.axhline(at, color=TEXT_COLOR, linestyle=":", linewidth=1.2, label=label)
    for axis_name in "xy":
        if spec.get(f"log_{axis_name}"):
            _set_log_axis(axes, axis_name)
    if len(spec["series"]) + len(spec.get("marks", ())) + len(spec.get("levels", ())) > 1:
        axes.legend()


def _set_log_axis(axes: Axes, axis_name: str) -> None:
    """Set ticks at 1, 2, 5 in each decade (only at 1 over many decades), as plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(**{f"{axis_name}scale": "log"})
    axis = axes.xaxis if axis_name == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 2e3 * low else (1,)))
    axis.set_major_formatter(lambda at, _place: f"{at:g}")
    axis.set_minor_locator(NullLocator())


def _draw_heatmap(axes: Axes, spec: Spec) -> None:
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    cells = np.ma.masked_invalid(np.array(spec["matrix"], float))  # None becomes nan
    colormap = colormaps["YlGnBu"].resampled(
        40
    )  # with more colours, the colour bar would become a raster image
    mesh = axes.pcolormesh(cells, cmap=colormap, edgecolors="white", linewidth=0.5)
    axes.invert_yaxis()
    for ticks, names in ((axes.set_xticks, spec["columns"]), (axes.set_yticks, spec["rows"])):
        ticks(np.arange(len(names)) + 0.5, list(map(str, names)))
    axes.tick_params(length=0)
    threshold = (cells.min() + cells.max()) / 2
    for (row, column), cell in np.ndenumerate(cells.filled(np.nan)):
        if not np.isnan(cell):
            text = f"{cell:.{spec.get('digits', 3)}f}"
            text_color = "white" if cell > threshold else TEXT_COLOR
            position = column + 0.5, row + 0.5
            axes.text(*position, text, ha="center", va="center", size=8, color=text_color)
    if spec.get("best"):
        at = cells.argmax() if spec["best"] == "high" else cells.argmin()
        row, column = divmod(int(at), cells.shape[1])
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#d1495b", linewidth=2))
    axes.figure.colorbar(mesh, ax=axes, label=spec["label"])


def _draw_histogram(axes: Axes, spec: Spec) -> None:
    bins = spec.get("bins") or max(5, round(2 * len(spec["values"]) ** 0.5))
    axes.hist(spec["values"], bins=bins, color=COLORS[0], alpha=0.55, edgecolor="white")
    for i, (label, at) in enumerate(spec.get("marks", {}).items()):
        colour = COLORS[(i + 1) % len(COLORS)]
        axes.axvline(at, color=colour, linewidth=1.8, label=label)
    if spec.get("marks"):
        axes.legend()
