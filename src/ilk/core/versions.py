"""Time and package versions, recorded for reproducibility."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata

from ilk import __version__

PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "torch", "pillow"),
    *("timm", "transformers", "diffusers", "openvino", "onnxruntime"),
)


def format_now() -> str:
    """Return the current time to the minute, in UTC, such as "2026-01-31 12:00 UTC"."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def get_versions() -> dict[str, str]:
    """Return the versions of ilk, Python and the installed packages of `PACKAGES`, by name."""
    by_package = {"ilk": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            by_package[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return by_package
