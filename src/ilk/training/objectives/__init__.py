"""Loss terms, one file each: a subclass of `Objective` that is found by its file."""

from __future__ import annotations

from ilk.core.registry import find_modules
from ilk.training.objective import Objective


def list_objectives() -> dict[str, type[Objective]]:
    """Return the public objective of each file in this folder, by class name, sorted."""
    found = {
        name: value
        for module in find_modules(__name__).values()
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Objective)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    return dict(sorted(found.items()))
