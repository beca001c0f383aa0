"""`python -m tools.docs.architecture` draws docs/architecture.svg from the imports in the source.

A box is a folder (or a file at the top level) of `ilk`, an arrow is an import. Each folder stands
above all folders that it imports from. An arrow is left out where a chain of others implies it.
"""

from __future__ import annotations

import sys
from collections import Counter
from html import escape
from pathlib import Path

from tools.docs.imports import FOLDERS, list_imports, list_modules
from tools.docs.layered_graph import (
    assign_layers,
    order_layers,
    place_nodes,
    reduce_transitively,
    split_edges,
)

BOX_HEIGHT, LAYER_HEIGHT, MARGIN, GAP = 42, 92, 24, 18
STYLE = """
text { font-family: "DejaVu Sans", Verdana, Arial, sans-serif; text-anchor: middle; fill: #333 }
.name { font-size: 14px; font-weight: bold } .files { font-size: 10px; fill: #777 }
rect { fill: #eaf2fa; stroke: #0060a8; stroke-width: 1.2 }
path.edge { fill: none; stroke: #8a8a8a; stroke-width: 1.2 }
"""


def read_folder_graph() -> tuple[dict[str, set[str]], Counter[str]]:
    """Return which top-level folder imports from which, and the number of files in each."""
    files = list_modules()
    graph: dict[str, set[str]] = {folder: set() for folder in FOLDERS}
    n_files: Counter[str] = Counter()
    for name, path in files.items():
        folder = name.split(".")[0]
        n_files[folder] += path.name != "__init__.py"
        graph[folder] |= {other.split(".")[0] for other in list_imports(name, files)} - {folder}
    return graph, n_files


def draw_architecture() -> str:
    """Return the picture as SVG; the same source gives the same bytes."""
    graph, n_files = read_folder_graph()
    graph = reduce_transitively(graph)
    layers = assign_layers(graph)
    paths = split_edges(graph, layers)
    rows = order_layers(layers, paths)

    def measure_width(node: str) -> float:
        return 12.0 if ">" in node else 28 + 9.5 * len(node)

    x = place_nodes(rows, paths, measure_width, GAP)
    left = min(x[n] - measure_width(n) / 2 for n in x) - MARGIN
    width = round(max(x[n] + measure_width(n) / 2 for n in x) - left + MARGIN)
    height = 2 * MARGIN + BOX_HEIGHT + LAYER_HEIGHT * (len(rows) - 1)
    y = {node: height - MARGIN - BOX_HEIGHT / 2 - LAYER_HEIGHT * layers[node] for node in x}
    at = {node: (x[node] - left, y[node]) for node in x}
    parts = [_draw_edge([at[node] for node in path]) for path in paths]
    parts += [_draw_box(node, *at[node], measure_width(node), n_files[node]) for node in FOLDERS]
    return "\n".join([*_open_svg(width, height), *parts, "</svg>\n"])


def _open_svg(width: int, height: int) -> list[str]:
    """Return the first lines of the file: size, title, style and the tip of an arrow."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">'
    )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#8a8a8a"/></marker></defs>'
    )
    return [
        head,
        "<title>Folders of ilk and their imports</title>",
        f"<style>{STYLE}</style>",
        tip,
        f'<path d="M0 0h{width}v{height}h-{width}z" fill="white"/>',
    ]


def _draw_edge(points: list[tuple[float, float]]) -> str:
    """Return a smooth line from the bottom of the first box through the bends to the last."""
    (x, y), half = points[0], BOX_HEIGHT / 2
    text = f"M{x:.1f} {y + half:.1f}"
    y += half
    for i, (next_x, next_y) in enumerate(points[1:], start=2):
        end = next_y - half
        middle = (y + end) / 2
        text += f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {end:.1f}"
        if i < len(points):  # straight past the boxes of a layer between
            text += f"V{next_y + half:.1f}"
        x, y = next_x, next_y + half
    return f'<path class="edge" d="{text}" marker-end="url(#tip)"/>'


def _draw_box(name: str, x: float, y: float, width: float, n_files: int) -> str:
    count = f"{n_files} files" if n_files > 1 else "1 file"
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - BOX_HEIGHT / 2:.1f}" width="{width:.1f}" '
        f'height="{BOX_HEIGHT}" rx="5"/>'
        f'<text class="name" x="{x:.1f}" y="{y - 1:.1f}">{escape(name)}</text>'
        f'<text class="files" x="{x:.1f}" y="{y + 14:.1f}">{count}</text>'
    )


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "docs" / "architecture.svg"
    target.write_text(draw_architecture(), encoding="utf-8", newline="\n")
    print(target)
