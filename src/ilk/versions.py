"""When and with what something was made, for whoever wants the same figures again."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata

from ilk import __version__

PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "torch", "pillow"),
    *("timm", "transformers", "diffusers", "openvino"),
)


def moment() -> str:
    """The minute, in UTC, as records tell it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def versions() -> dict[str, str]:
    """By package, ilk and Python first; those that are not installed are left out."""
    found = {"ilk": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
