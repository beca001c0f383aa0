"""Plots: whole SVGs, the same bytes each time, and a sentence for each way to tell one wrongly."""

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from ilk.core.errors import InputError
from tools.docs.plots import draw, draw_all

NAMES = {"x": "rows", "y": "error", "title": "Error & rows"}
LINES = {
    "file": "lines.svg",
    "kind": "lines",
    **NAMES,
    "series": {
        "naive <Bayes>": [[100, 0.2, 0.15, 0.25], [10, 0.5, 0.4, 0.6]],
        "regression": [[10, 0.6], [100, 0.1]],
        "one": [[30, 0.3, 0.2, 0.4]],
        "open": [[20, 0.3, None, None], [40, 0.2, 0.1, None]],
    },
    "log_x": True,
    "marks": {"crossing": 40},
    "levels": {"chance": 0.9},
}
HEAT = {
    "file": "heat.svg",
    "kind": "heat",
    **NAMES,
    "matrix": [[0.1, 0.25, 0.3], [0.5, 0.875, None]],
    "rows": ["down", "middle"],
    "columns": [0.1, 1, 10],
    "label": "accuracy",
    "best": "high",
    "digits": 2,
}
HISTOGRAM = {
    "file": "many.svg",
    "kind": "histogram",
    **NAMES,
    "values": [0.1, 0.2, 0.2, 0.3, 0.9],
    "marks": {"ours": 0.95},
    "bins": 4,
}
ALL = (LINES, HEAT, HISTOGRAM)
SVG = "{http://www.w3.org/2000/svg}"


def words(page):
    return ["".join(e.itertext()).strip() for e in ElementTree.fromstring(page).iter(SVG + "text")]


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s["kind"])
def test_a_plot_is_a_whole_svg_that_carries_its_words(spec):
    page = draw(spec)
    root = ElementTree.fromstring(page)
    assert root.tag == SVG + "svg"
    assert root.findtext(SVG + "title") == "Error & rows"
    assert {"rows", "error", "Error & rows"} <= set(words(page))
    assert b"#ffffff" in page  # a white ground, for dark pages
    assert b"<image" not in page
    assert len(page) < 40_000


def test_names_and_marks_are_in_the_legend():
    assert {"naive <Bayes>", "regression", "one", "crossing", "chance"} <= set(words(draw(LINES)))
    assert "ours" in words(draw(HISTOGRAM))


def test_logarithmic_axes_have_plain_numbers():
    assert {"10", "20", "50", "100"} <= set(words(draw(LINES)))
    far = {**LINES, "series": {"a": [[1, 1], [1e6, 2]]}}
    assert "20" not in words(draw(far))
    assert "1000" in words(draw(far))


def test_cells_hold_their_numbers_and_gaps_stay_blank():
    texts = words(draw(HEAT))
    assert {"down", "middle", "0.1", "accuracy", "0.25", "0.88"} <= set(texts)
    assert "nan" not in " ".join(texts)


def outlined(page):
    """Where the outline of the best cell starts."""
    path = next(
        e
        for e in ElementTree.fromstring(page).iter(SVG + "path")
        if "stroke: #d1495b" in e.get("style", "")
    )
    return tuple(float(v) for v in path.get("d").split()[1:3])


def test_the_best_cell_is_outlined_where_it_is():
    high, low = outlined(draw(HEAT)), outlined(draw({**HEAT, "best": "low"}))
    assert high[0] > low[0]  # further right,
    assert high[1] > low[1]  # and further down
    assert b"#d1495b" not in draw({k: v for k, v in HEAT.items() if k != "best"})


def test_order_of_points_does_not_matter_but_their_values_do():
    turned = {**LINES, "series": {k: v[::-1] for k, v in LINES["series"].items()}}
    assert draw(turned) == draw(LINES)
    moved = {**LINES, "series": {**LINES["series"], "regression": [[10, 0.61], [100, 0.1]]}}
    assert draw(moved) != draw(LINES)


def test_the_bytes_do_not_depend_on_the_settings_of_the_user(tmp_path):
    import matplotlib

    before = [draw(spec) for spec in ALL]
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.linewidth": 5}):
        assert [draw(spec) for spec in ALL] == before
        assert matplotlib.rcParams["font.size"] == 30
    code = (
        f"import sys; from tools.docs.plots import draw; sys.stdout.buffer.write(draw({LINES!r}))"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert again.stdout == before[0]


def test_every_plot_of_every_benchmark_is_drawn():
    found = {
        "one": {"result": {"plots": [LINES, HEAT], "rows": 3}},
        "none": {"result": {"rows": 3}},
        "two": {"result": {"plots": [HISTOGRAM]}},
    }
    assert draw_all(found) == {spec["file"]: draw(spec) for spec in ALL}
    found["none"]["result"]["plots"] = [LINES]
    with pytest.raises(InputError, match=r"one: another plot is called lines\.svg"):
        draw_all(found)


def without(spec, key):
    return {k: v for k, v in spec.items() if k != key}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({**LINES, "file": "../a.svg"}, r"'\.\./a\.svg': `file` must consist"),
        ({**LINES, "file": "a.png"}, "end in .svg"),
        (without(LINES, "file"), "'without a file'"),
        ({**LINES, "kind": "pie"}, "'lines.svg': unknown kind of plot 'pie'; use one of heat, "),
        (without(LINES, "series"), "kind lines needs series"),
        (without(HEAT, "x"), "kind heat needs x"),
        ({**HEAT, "bins": 3}, "kind heat has no bins"),
        ({**LINES, "series": {}}, "line without points"),
        ({**LINES, "series": {"a": []}}, "line without points"),
        ({**LINES, "series": {"a": [[1, 2, 3]]}}, "neither"),
        ({**LINES, "series": {"a": [[1, None]]}}, "neither"),
        ({**LINES, "series": {"a": [[0, 1]]}}, "`log_x` requires positive numbers"),
        ({**LINES, "series": {"a": [[1, float("nan")]]}}, "`series` holds nan"),
        ({**LINES, "marks": {"a": "forty"}}, "`marks` holds 'forty'"),
        ({**HEAT, "matrix": [[1, 2, 3]]}, "not 2 rows of 3"),
        ({**HEAT, "matrix": [[1, 2, 3], [1, 2]]}, "not 2 rows of 3"),
        ({**HEAT, "matrix": [[None] * 3] * 2}, "holds no number"),
        ({**HEAT, "best": "most"}, "`best` is 'most'"),
        ({**HISTOGRAM, "values": []}, "`values` is empty"),
        ({**HISTOGRAM, "values": [float("inf")]}, "`values` holds inf"),
    ],
)
def test_an_invalid_plot_is_refused_with_its_problem(spec, message):
    with pytest.raises(InputError, match=message):
        draw(spec)


def test_nothing_is_imported_until_something_is_drawn():
    code = (
        "import sys; sys.modules['matplotlib'] = None; import tools.docs.plots as p\n"
        "from ilk.core.errors import Unavailable\n"
        "assert p.draw_all({'a': {'result': {}}}) == {}\n"
        f"try: p.draw({LINES!r})\n"
        "except Unavailable as error: assert 'pip install matplotlib' in str(error)\n"
        "else: raise SystemExit('it drew')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
