"""A module imports only from folders above its own; neither modules nor folders form a cycle."""

import ast
import sys
from pathlib import Path

import pytest

from tools.docs.imports import FOLDERS, PACKAGE, group_by_folder, list_imports, list_modules

LEVEL = {folder: level for level, folder in enumerate(FOLDERS)}
FILES = list_modules()
ONE_PER_FILE = ("methods", "detectors", "discovery", "architectures")  # siblings share nothing
GRAPH = {name: list_imports(name, FILES) for name in FILES}


def find_cycle(graph):
    """Return one cycle of a graph of sets, as a list that ends where it begins, or None."""
    state = {}

    def visit(node, path):
        if state.get(node) == "open":
            return [*path[path.index(node) :], node]
        if node in state:
            return None
        state[node] = "open"
        for other in sorted(graph.get(node, set()) - {node}):
            if cycle := visit(other, [*path, node]):
                return cycle
        state[node] = "done"
        return None

    return next((cycle for node in sorted(graph) if (cycle := visit(node, []))), None)


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_only_from_folders_above_its_own(name):
    folder = name.split(".")[0]
    assert folder in LEVEL, f"{name} has no place in the order; give its folder one in FOLDERS"
    later = {i for i in GRAPH[name] if LEVEL[i.split(".")[0]] > LEVEL[folder]}
    assert not later, f"{name} imports from below its own folder: {sorted(later)}"


def test_no_import_goes_in_a_circle():
    assert find_cycle(GRAPH) is None
    assert find_cycle(group_by_folder(GRAPH, FILES)) is None


@pytest.mark.parametrize("name", [n for n in FILES if n.split(".")[0] in ONE_PER_FILE])
def test_files_of_one_contract_import_no_sibling(name):
    folder = name.split(".")[0]
    assert not {i for i in GRAPH[name] if i.startswith(f"{folder}.")} or name == folder


def test_only_the_estimator_knows_scikit_learns_contract():
    for name, path in FILES.items():
        if "sklearn.base" in path.read_text(encoding="utf-8"):
            assert name == "estimator"


def test_core_maths_and_methods_import_nothing_heavy():
    heavy = {"torch", "timm", "transformers", "sklearn", "torchvision"}
    for name, path in FILES.items():
        if name.split(".")[0] in ("core", "maths", "images", "methods"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            tops = {
                (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
                for node in tree.body
                if isinstance(node, ast.Import | ast.ImportFrom)
            }
            assert not heavy & {t.split(".")[0] for t in tops}, name


def test_tests_mirror_the_source_folders():
    tests = Path(__file__).parent
    for folder in FOLDERS:
        if (PACKAGE / folder).is_dir():
            assert any((tests / folder).glob("test_*.py")) or folder == "architectures", folder


def test_planted_faults_are_found(monkeypatch):
    monkeypatch.setitem(GRAPH, "core.data", {"cli.fit"})
    with pytest.raises(AssertionError, match=r"core.data imports from below"):
        test_a_module_imports_only_from_folders_above_its_own("core.data")
    monkeypatch.setitem(GRAPH, "core.errors", {"core.data"})
    monkeypatch.setitem(GRAPH, "core.data", {"core.errors"})
    assert find_cycle(GRAPH)
    monkeypatch.undo()
    across = {**GRAPH, "trust.conformal": {"ranking.rank"}, "ranking.leep": {"trust.conformal"}}
    assert find_cycle(across) is None  # no module twice, yet the folders go round
    assert set(find_cycle(group_by_folder(across, FILES))) == {"ranking", "trust"}
    assert "ilk" in sys.modules
