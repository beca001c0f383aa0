"""The plots of `docs/plots`, drawn from what the benchmarks wrote: same figures, same bytes.

A benchmark's `run` hands back a list of plots under `"plots"` at the top of its result, each a
plain dictionary as `ilk.pages.plot_spec` tells it. matplotlib is imported only when something is
drawn.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ilk.errors import InputError, Unavailable
from ilk.pages.plot_spec import Spec, checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0060a8", "#d1495b", "#2a9d5c", "#8f5bb5", "#c97b12", "#3b3b3b", "#18a3b8", "#9a9a9a")
SHAPES = "osD^vPXh"
INK, QUIET = "#333333", "#777777"
STYLE = {
    "svg.hashsalt": "ilk",
    "svg.fonttype": "none",  # text stays text: a tenth of the bytes, and it can be searched
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10.0,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def drawn(found: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    """Every plot of the benchmarks' results `{name: told}`, as `{file name: SVG}`.

    Raises:
        InputError: A plot is not told as `ilk.pages.plot_spec` says, or two are to be the same
            file.
        Unavailable: matplotlib is not installed.
    """
    pages: dict[str, bytes] = {}
    for name, told in sorted(found.items()):
        for spec in told["result"].get("plots", ()):
            page = draw(spec)
            if spec["file"] in pages:
                raise InputError(f"{name}: two plots are to be {spec['file']}; rename one")
            pages[spec["file"]] = page
    return pages


def draw(spec: Spec) -> bytes:
    """One plot as SVG, the same bytes each time.

    Raises:
        InputError: It is not told as `ilk.pages.plot_spec` says.
        Unavailable: matplotlib is not installed.
    """
    checked(spec)
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise Unavailable(
            "plots are drawn by matplotlib, which is not installed: `pip install matplotlib`"
        ) from None
    kinds = {"lines": _lines, "heat": _heat, "histogram": _histogram}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the person's own settings are
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=_size(spec), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        kinds[spec["kind"]](axes, spec)
        axes.set(title=spec["title"], xlabel=spec["x"], ylabel=spec["y"])
        page = BytesIO()
        told = {"Date": None, "Creator": None, "Title": spec["title"]}
        figure.savefig(page, format="svg", metadata=told)
    return page.getvalue()


def _size(spec: Spec) -> tuple[float, float]:
    """Inches; a heat map grows with its cells."""
    if spec["kind"] == "heat":
        return 2.4 + 0.62 * len(spec["columns"]), 1.5 + 0.34 * len(spec["rows"])
    return 6.4, 4.0


def _lines(axes: Axes, spec: Spec) -> None:
    for i, (name, points) in enumerate(spec["series"].items()):
        colour, shape = COLOURS[i % len(COLOURS)], SHAPES[i % len(SHAPES)]
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
        axes.axvline(at, color=QUIET, linestyle=dashes, linewidth=1, label=label)
    for label, at in spec.get("levels", {}).items():
        axes.axhline(at, color=INK, linestyle=":", linewidth=1.2, label=label)
    for way in "xy":
        if spec.get(f"log_{way}"):
            _logarithmic(axes, way)
    if len(spec["series"]) + len(spec.get("marks", ())) + len(spec.get("levels", ())) > 1:
        axes.legend()


def _logarithmic(axes: Axes, way: str) -> None:
    """Ticks at 1, 2, 5 in each decade (at 1 alone, over many), as plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(**{f"{way}scale": "log"})
    axis = axes.xaxis if way == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 2e3 * low else (1,)))
    axis.set_major_formatter(lambda at, _place: f"{at:g}")
    axis.set_minor_locator(NullLocator())


def _heat(axes: Axes, spec: Spec) -> None:
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    cells = np.ma.masked_invalid(np.array(spec["matrix"], float))  # None becomes nan
    steps = colormaps["YlGnBu"].resampled(40)  # of more, the colour bar would be a picture inside
    mesh = axes.pcolormesh(cells, cmap=steps, edgecolors="white", linewidth=0.5)
    axes.invert_yaxis()
    for ticks, names in ((axes.set_xticks, spec["columns"]), (axes.set_yticks, spec["rows"])):
        ticks(np.arange(len(names)) + 0.5, list(map(str, names)))
    axes.tick_params(length=0)
    dark = (cells.min() + cells.max()) / 2
    for (row, column), cell in np.ndenumerate(cells.filled(np.nan)):
        if not np.isnan(cell):
            told = f"{cell:.{spec.get('digits', 3)}f}"
            ink = "white" if cell > dark else INK
            place = column + 0.5, row + 0.5
            axes.text(*place, told, ha="center", va="center", size=8, color=ink)
    if spec.get("best"):
        at = cells.argmax() if spec["best"] == "high" else cells.argmin()
        row, column = divmod(int(at), cells.shape[1])
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#d1495b", linewidth=2))
    axes.figure.colorbar(mesh, ax=axes, label=spec["label"])


def _histogram(axes: Axes, spec: Spec) -> None:
    bins = spec.get("bins") or max(5, round(2 * len(spec["values"]) ** 0.5))
    axes.hist(spec["values"], bins=bins, color=COLOURS[0], alpha=0.55, edgecolor="white")
    for i, (label, at) in enumerate(spec.get("marks", {}).items()):
        colour = COLOURS[(i + 1) % len(COLOURS)]
        axes.axvline(at, color=colour, linewidth=1.8, label=label)
    if spec.get("marks"):
        axes.legend()
