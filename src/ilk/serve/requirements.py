"""Packages that a server needs; they are the extra `serve`."""

from __future__ import annotations

from importlib.util import find_spec

from ilk.core.errors import Unavailable

PACKAGES = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def check_requirements() -> None:
    """Check that the packages of the extra are installed.

    Raises:
        Unavailable: One is missing.
    """
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise Unavailable(f"a server needs {', '.join(missing)}; run: pip install 'ilk[serve]'")
