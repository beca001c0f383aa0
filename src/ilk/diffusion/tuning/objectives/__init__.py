"""Objectives of tuning, one file each: the name of an objective is that of its file."""

from __future__ import annotations

from ilk.core.errors import UnknownName
from ilk.core.registry import find_modules
from ilk.diffusion.contrast.objective import TuningObjective


def list_tuning_objectives() -> dict[str, type[TuningObjective]]:
    """Return the objective of each file in this folder by name, such as `cross-entropy`, sorted."""
    return {
        file.replace("_", "-"): value
        for file, module in find_modules(__name__).items()
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, TuningObjective)
        and value.__module__ == module.__name__
    }


def get_tuning_objective(name: str) -> type[TuningObjective]:
    """Return the objective called `name`.

    Raises:
        UnknownName: There is none.
    """
    known = list_tuning_objectives()
    if name not in known:
        raise UnknownName("objective", name, known)
    return known[name]
