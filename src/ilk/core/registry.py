"""Discovery of classes by file: a folder is a contract, and each file in it is a candidate."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from ilk.core.errors import InputError, UnknownName
from ilk.core.typed_values import check_type, get_hints


def find_modules(package: str) -> dict[str, ModuleType]:
    """Import and return every module directly inside `package`, by file name, sorted."""
    paths = import_module(package).__path__
    names = sorted(info.name for info in iter_modules(paths))
    return {name: import_module(f"{package}.{name}") for name in names}


def read_constants(package: str, required: str) -> dict[str, dict[str, Any]]:
    """Literal module-level constants of each file in `package` that defines `required`.

    The files are parsed and not imported, so that listing them costs no heavy import.

    Args:
        package: Dotted name of the folder, such as `ilk.encoders`.
        required: The constant that makes a file one of the listed kind.

    Returns:
        By file name, sorted: the constants by name.
    """
    found = {}
    for folder in import_module(package).__path__:
        for path in sorted(Path(folder).glob("*.py")):
            constants: dict[str, Any] = {}
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    with suppress(ValueError):
                        constants[node.targets[0].id] = ast.literal_eval(node.value)
            if required in constants:
                found[path.stem] = constants
    return found


def find_classes(package: str, base: type, verb: str = "fit") -> dict[str, type[Any]]:
    """Return every dataclass that a file of `package` defines, by class name, sorted.

    Args:
        package: Dotted name of the folder, such as `ilk.methods`.
        base: Base class, such as `MethodTags`.
        verb: Name of a method that the classes must have.
    """
    classes = {
        name: value
        for module in find_modules(package).values()
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and is_dataclass(value)
        and issubclass(value, base)
        and hasattr(value, verb)
    }
    return dict(sorted(classes.items()))


def parse_call(text: str, classes: Mapping[str, type[Any]], kind: str = "method") -> Any:
    """Return the object that `text` describes, such as `GDA` or `GDA(shrink=0.2)`.

    Args:
        text: A class name with keyword arguments that are literals; parsed by `ast`.
        classes: Classes by name.
        kind: What to call them in messages.

    Raises:
        UnknownName: If no class has that name; the message suggests the nearest.
        InputError: If the arguments are not literals of the types of the fields, or the class has
            no such field.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        if not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        arguments = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise InputError(
            f"cannot read {kind} {text!r}; write a name and fields, such as GDA(shrink=0.2)"
        ) from None
    if call.func.id not in classes:
        raise UnknownName(kind, call.func.id, tuple(classes))
    try:
        return _build(classes[call.func.id], arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{text}: {error}") from None


def _build(kind: type[Any], arguments: Mapping[str, Any]) -> Any:
    """Return an object of `kind`; a TypeError names the argument that is of another type."""
    try:
        built = kind(**arguments)
    except TypeError:
        _check_arguments(kind, arguments)
        raise
    _check_arguments(kind, arguments)
    return built


def _check_arguments(kind: Any, arguments: Mapping[str, Any]) -> None:
    hints = get_hints(kind)
    for name, value in arguments.items():
        is_flag = hints.get(name) is bool and value in (0, 1)
        if name in hints and not is_flag:
            check_type(value, hints[name], name)
