"""Settings from Python that must be text."""

from __future__ import annotations

from ilk.core.errors import InputError


def check_text(**settings: object) -> None:
    """Check that each setting is text or None.

    Raises:
        InputError: One is not; the message names it.
    """
    for name, value in settings.items():
        if value is not None and not isinstance(value, str):
            raise InputError(f"{name} is {value!r}, of type {type(value).__name__}; give text")
