"""The house keeps its plan: a file imports only what lies below it, and never in circles."""

import ast
import sys
from pathlib import Path

import pytest

import ilk

HOUSE = Path(ilk.__file__).parent
ROOMS = (  # from the ground up; a package stands for all in it
    {"errors", "data", "metrics", "progress", "versions"},
    {"maths"},
    {"store", "models", "images"},
    {"protocols", "training", "unlabelled"},
    {"encoders", "encode", "diffusion"},
    {"methods"},
    {"selection", "board", "trust", "evaluate", "estimator", "ranking"},
    {
        "anomaly",
        "applicable",
        "artefact",
        "claimed",
        "packed",
        "plan",
        "classifier",
        "judged",
        "rows",
    }
    | {"explained", "findings", "finish", "fitting", "report", "work", "living"},
    {"bench", "demo", "doctor", "pages"},
    {"cli", "docs", "__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
FILES = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HOUSE.rglob("*.py"))
    if path != HOUSE / "__init__.py"
}


def imports(name):
    """Modules of ilk that a file imports anywhere, inside functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "ilk"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports by dots; write ilk.… in full"
            if (node.module or "").split(".")[0] == "ilk":
                inner = [f"{node.module}.{a.name}".removeprefix("ilk.") for a in node.names]
                found |= {i if i in FILES else node.module for i in inner}
    return {f.removeprefix("ilk.") for f in found} - {"ilk"}


GRAPH = {name: imports(name) for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_from_its_own_floor_and_below(name):
    room = name.split(".")[0]
    assert room in FLOOR, f"{name} has no place in the house; give it one in ROOMS"
    above = {i for i in GRAPH[name] if FLOOR[i.split(".")[0]] > FLOOR[room]}
    assert not above, f"{name} imports from above: {sorted(above)}"


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("methods.")])
def test_a_method_imports_no_sibling(name):
    assert not {i for i in GRAPH[name] if i.split(".")[0] == "methods"}


def test_nothing_goes_round_in_circles():
    state = {}

    def visit(name, path):
        if state.get(name) == "open":
            pytest.fail(f"a circle: {' -> '.join([*path[path.index(name) :], name])}")
        if name in state or name not in GRAPH:
            return
        state[name] = "open"
        for other in sorted(GRAPH[name] - {name}):
            visit(other, [*path, name])
        state[name] = "done"

    for name in GRAPH:
        visit(name, [])


def test_only_the_estimator_knows_scikit_learns_contract():
    for name, path in FILES.items():
        if "sklearn.base" in path.read_text(encoding="utf-8"):
            assert name == "estimator"


def test_the_ground_floor_needs_nothing_heavy():
    heavy = {"torch", "timm", "transformers", "sklearn", "torchvision"}
    for name in FILES:
        if FLOOR.get(name.split(".")[0], 9) < 2 or name.startswith("methods"):
            tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
            tops = {
                (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
                for node in tree.body
                if isinstance(node, ast.Import | ast.ImportFrom)
            }
            assert not heavy & {t.split(".")[0] for t in tops}, name


def test_this_file_would_notice(monkeypatch):
    monkeypatch.setitem(GRAPH, "data", {"cli"})
    with pytest.raises(AssertionError, match="data imports from above"):
        test_a_file_imports_only_from_its_own_floor_and_below("data")
    monkeypatch.setitem(GRAPH, "errors", {"data"})
    monkeypatch.setitem(GRAPH, "data", {"errors"})
    with pytest.raises(pytest.fail.Exception, match="a circle: "):
        test_nothing_goes_round_in_circles()
    assert "ilk" in sys.modules
