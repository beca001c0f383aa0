"""Writes every generated file of the documentation: pages, blocks of the README and pictures."""

from __future__ import annotations

from pathlib import Path

from tools.docs.architecture import draw_architecture
from tools.docs.benchmark_pages import (
    build_benchmarks_page,
    build_readme_blocks,
    fill_blocks,
    load_records,
)
from tools.docs.claims_pages import build_results_page
from tools.docs.methods_page import build_methods_page
from tools.docs.plots import draw_all


def write_pages(root: Path) -> list[Path]:
    """Write all generated files of the repository at `root` and return their paths.

    Plots in `docs/plots` that no benchmark draws any more are deleted.
    """
    records = load_records(root / "benchmarks" / "results")
    readme = (root / "README.md").read_text(encoding="utf-8")
    docs = root / "docs"
    pages = {
        docs / "methods.md": build_methods_page(records),
        docs / "benchmarks.md": build_benchmarks_page(records),
        docs / "results.md": build_results_page(records),
        docs / "architecture.svg": draw_architecture(),
        root / "README.md": fill_blocks(readme, build_readme_blocks(records)),
    }
    files = {path: text.encode() for path, text in pages.items()}
    plots = {docs / "plots" / name: svg for name, svg in draw_all(records).items()}
    for path in set((docs / "plots").glob("*.svg")) - set(plots):
        path.unlink()
    for path, content in (files | plots).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return [*files, *plots]
