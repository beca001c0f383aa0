"""Public functions on arrays say what comes in, what goes out and what is raised."""

import ast
import re
from pathlib import Path

import pytest

import ilk

PACKAGE = Path(ilk.__file__).parent
ARRAYS = re.compile(
    r"\b(NDArray|Tensor|Features|Labels|Logits|Probabilities|Matrix|Pixels|Array)\b"
)
SHAPE = re.compile(r"\[[^\]`]+\]|scalar|same shape")
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def public_functions(tree):
    """Public functions and methods of a module, with their dotted names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def is_on_arrays(node):
    """Whether an argument or the result is annotated as an array."""
    args = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    hints = [a.annotation for a in args if a.annotation] + [node.returns] * bool(node.returns)
    return any(ARRAYS.search(ast.unparse(hint)) for hint in hints)


def raised(node):
    """Names of the errors that the function's own body raises."""
    names = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call):
            names.add(ast.unparse(inner.exc.func).rpartition(".")[2])
    return names - {"NotImplementedError"}


def complaints(source):
    """What the docstrings of a module lack, one line per function."""
    lines = []
    for name, node in public_functions(ast.parse(source)):
        text = ast.get_docstring(node) or ""
        if name.split(".")[-1] in ("forward", "fit", "logits", "step"):
            continue  # the contract says it once for all
        if is_on_arrays(node) and not SHAPE.search(text):
            lines.append(f"{name}: no shape, such as `[n, d]`")
        if is_on_arrays(node) and (missing := {e for e in raised(node) if e not in text}):
            lines.append(f"{name}: raises {', '.join(sorted(missing))} and does not say so")
    return lines


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_functions_on_arrays_state_shapes_and_errors(path):
    assert complaints(path.read_text(encoding="utf-8")) == []


def test_a_planted_fault_is_found():
    bare = 'def scale(x: Features) -> Features:\n    """Divide."""\n    raise InputError("no")\n'
    assert complaints(bare) == [
        "scale: no shape, such as `[n, d]`",
        "scale: raises InputError and does not say so",
    ]
