"""The folders of `ilk` in their order, and which module imports which, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import ilk

PACKAGE = Path(ilk.__file__).parent
FOLDERS = (  # from the ground up; each may import from those before it
    *("core", "maths", "vocabulary", "images", "store", "hub", "encode", "shards", "protocols"),
    *("architectures", "training", "peft", "transduction", "diffusion", "encoders"),
    *("deduplication", "metric_learning", "finetuning", "subset_selection"),
    *("methods", "detectors", "discovery"),
    *("ranking", "trust", "multilabel", "report", "explain", "artifacts", "retrieval"),
    *("fitting", "estimator", "updates", "export", "compression", "distillation"),
    *("labelling", "serve"),
    *("demo", "encoding_speed", "doctor", "cli", "__main__"),
)

Graph = dict[str, set[str]]


def list_modules() -> dict[str, Path]:
    """Return the file of every module of `ilk` by its dotted name without the leading `ilk.`."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "__init__.py"
    }


def list_imports(name: str, files: Mapping[str, Path]) -> set[str]:
    """Return the modules of `ilk` that module `name` imports.

    Imports inside functions and imports for type checkers count too.

    Raises:
        ValueError: If the module uses a relative import.
    """
    imported = set()
    for node in ast.walk(ast.parse(files[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {a.name for a in node.names if a.name.split(".")[0] == "ilk"}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{name} uses a relative import; write ilk.… in full")
            if (node.module or "").split(".")[0] == "ilk":
                members = [f"{node.module}.{a.name}".removeprefix("ilk.") for a in node.names]
                imported |= {m if m in files else str(node.module) for m in members}
    return {module.removeprefix("ilk.") for module in imported} - {"ilk"}


def folder_of(module: str, files: Mapping[str, Path]) -> str:
    """Return the dotted folder of a module; a module at the top level is its own folder."""
    parent = files[module].parent.relative_to(PACKAGE)
    return ".".join(parent.parts) or module


def group_by_folder(graph: Mapping[str, set[str]], files: Mapping[str, Path]) -> Graph:
    """Return which folder imports from which, counting subfolders separately."""
    folders: Graph = {}
    for module, imported in graph.items():
        targets = folders.setdefault(folder_of(module, files), set())
        targets |= {folder_of(other, files) for other in imported if other in files}
    return {folder: others - {folder} for folder, others in folders.items()}
