"""`python -m ilk.docs` makes the generated pages: from the method files and from the benchmarks."""

from __future__ import annotations

import inspect
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ilk.methods import available
from ilk.pages.families import method_claims, results_page, verdicts_table
from ilk.pages.measured import benchmarks_page, filled, readme_blocks, results
from ilk.pages.plots import drawn

HEAD = """# Methods

Made by `python -m ilk.docs` from the method files; change those, not this. Type a method as it is
headed here, or with fields: `--method "GDA(shrink=0.2)"`. A field left at None is chosen inside the
training data. `--method` may be given several times. Those that read images, learn from several
domains, or answer with more than the classes that have a name are there in Python.
"""


VERDICTS = """
## What the papers' claims came to

How often each row of the catalogue was ahead of what it was compared with, not told apart from it,
or behind: a comparison counts once a set and condition. The tables are in [results.md](results.md).
"""


def methods_page(found: dict[str, dict[str, Any]]) -> str:
    """The page as Markdown: all methods, what the papers' claims came to, then each method."""
    kinds = available()
    rows = [f"| [{name}](#{name.lower()}) | {_sentence(kind)} |" for name, kind in kinds.items()]
    table = "\n".join(["| method | what it does |", "|---|---|", *rows])
    entries = (_entry(name, kind, found) for name, kind in kinds.items())
    return "\n".join([HEAD, table, VERDICTS, verdicts_table(found), *entries])


def _story(kind: type[Any]) -> list[str]:
    """Paragraphs of the file's docstring; the first is one sentence."""
    return inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "").split("\n\n")


def _sentence(kind: type[Any]) -> str:
    return " ".join(_story(kind)[0].split())


def _entry(name: str, kind: type[Any], found: dict[str, dict[str, Any]]) -> str:
    file = f"methods/{kind.__module__.rpartition('.')[2]}.py"
    parts = [f"\n## {name}\n", _sentence(kind), *(f"\n{p}" for p in _story(kind)[1:])]
    wants = [
        word
        for word, true in (
            ("reads images", kind.reads == "images"),
            ("judges rows together", kind.transductive),
            ("wants an encoder that reads text", kind.needs_hints),
            ("needs no label", not kind.needs_labels),
            ("finds groups that have no name yet", kind.discovers),
            ("finds classes that no label names", kind.unnamed),
            ("learns what is normal and gives a score", kind.detects),
            ("learns from rows without a label too", kind.uses_unlabelled),
            ("learns from rows of several domains", kind.uses_domains),
        )
        if true
    ]
    if wants:
        parts.append(f"\nIt {' and '.join(wants)}.")
    if fields(kind):
        parts += ["", "| field | default | what it is |", "|---|---|---|"]
        told = _attributes(kind)
        parts += [
            f"| `{f.name}` | {'' if f.default is MISSING else f'`{f.default!r}`'} "
            f"| {told.get(f.name, '')} |"
            for f in fields(kind)
        ]
    parts += [f"\nFile: `src/ilk/{file}`."]
    if measured := method_claims(found, file):
        parts += ["\nWhat was measured:\n", measured]
    return "\n".join(parts) + "\n"


def _attributes(kind: type[Any]) -> dict[str, str]:
    """What the class docstring's `Attributes:` says of each field, on one line each."""
    _, _, block = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    told: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            name, _, first = line.strip().partition(": ")
            told[name] = first
        elif line.strip():
            told[name] += " " + line.strip()
        else:
            break
    return {key: value.replace("|", "\\|") for key, value in told.items()}


def write(root: Path) -> list[Path]:
    """Make every generated page of the repository at `root` anew: methods, benchmarks, README."""
    found = results(root / "bench")
    readme = (root / "README.md").read_text(encoding="utf-8")
    pages = {
        root / "docs" / "methods.md": methods_page(found),
        root / "docs" / "benchmarks.md": benchmarks_page(found),
        root / "docs" / "results.md": results_page(found),
        root / "README.md": filled(readme, readme_blocks(found)),
    }
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    plots = {root / "docs" / "plots" / name: svg for name, svg in drawn(found).items()}
    for path, svg in plots.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(svg)
    return [*pages, *plots]


if __name__ == "__main__":
    for page in write(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
        print(page)
