"""Train an image classifier from a folder of images and report how reliable it is.

>>> import ilk
>>> classifier = ilk.fit("photos/")                    # doctest: +SKIP
>>> classifier.predict("new.jpg").name                 # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier
    from ilk.artifacts.loading import load
    from ilk.artifacts.multi_label_classifier import MultiLabelClassifier
    from ilk.artifacts.prediction import Prediction
    from ilk.core.data import Data
    from ilk.core.errors import IlkError
    from ilk.estimator import ImageClassifier
    from ilk.fitting.out_of_core.fit import fit
    from ilk.images import Images
    from ilk.images import read_images as read
    from ilk.retrieval.search import search

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Data",
    "IlkError",
    "ImageClassifier",
    "Images",
    "MultiLabelClassifier",
    "Prediction",
    "fit",
    "load",
    "read",
    "search",
]

_PUBLIC = {  # name here: module, name there
    "Classifier": ("ilk.artifacts.classifier", "Classifier"),
    "Data": ("ilk.core.data", "Data"),
    "IlkError": ("ilk.core.errors", "IlkError"),
    "ImageClassifier": ("ilk.estimator", "ImageClassifier"),
    "Images": ("ilk.images", "Images"),
    "MultiLabelClassifier": ("ilk.artifacts.multi_label_classifier", "MultiLabelClassifier"),
    "Prediction": ("ilk.artifacts.prediction", "Prediction"),
    "fit": ("ilk.fitting.out_of_core.fit", "fit"),
    "load": ("ilk.artifacts.loading", "load"),
    "read": ("ilk.images", "read_images"),
    "search": ("ilk.retrieval.search", "search"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `ilk --help` starts without numpy and torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ilk' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)
