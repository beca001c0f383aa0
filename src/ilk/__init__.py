"""A folder of images in, a classifier you can trust out.

>>> import ilk
>>> images = ilk.read("photos/")                       # doctest: +SKIP
>>> classifier = ilk.fit(images)                       # doctest: +SKIP
>>> classifier.predict(["new.jpg"])[0].name            # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilk.classifier import Classifier, load
    from ilk.data import Data
    from ilk.errors import IlkError
    from ilk.fitting import fit
    from ilk.images import Images, read

__version__ = "0.1.0"
__all__ = ["Classifier", "Data", "IlkError", "Images", "fit", "load", "read"]

_HOME = {
    "Classifier": "ilk.classifier",
    "Data": "ilk.data",
    "IlkError": "ilk.errors",
    "Images": "ilk.images",
    "fit": "ilk.fitting",
    "load": "ilk.classifier",
    "read": "ilk.images",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `ilk --help` need not wait for numpy and torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'ilk' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
