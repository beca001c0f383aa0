"""What a safetensors file says of itself in its header, read without torch."""

from __future__ import annotations

from pathlib import Path

from ilk.errors import InputError


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in the file.

    Raises:
        InputError: It is no safetensors file, or was cut off.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no whole safetensors file: {error}; fetch it again") from error
