"""Read the header of a safetensors file without torch."""

from __future__ import annotations

from pathlib import Path

from ilk.core.errors import InputError


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in the file.

    Raises:
        InputError: It is not a complete safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a complete safetensors file: {error}; download it again"
        ) from error
