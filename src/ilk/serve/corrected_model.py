"""What corrections need to know of a model before they change it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.loading import AnyClassifier
from ilk.core.errors import InputError
from ilk.images import Row, normalize_class_name
from ilk.serve.batching import Answer
from ilk.serve.form import NamedImage
from ilk.serve.problems import Problem
from ilk.serve.served_model import ServedModel
from ilk.updates.add_validation import get_summary

MAX_LABEL_LENGTH = 200


class Host(Protocol):
    """What corrections need of the server's model; see `ilk.serve.model_host.ModelHost`."""

    folder: Path
    served: ServedModel
    note: str
    change_lock: AbstractContextManager[Any]

    def embed_one(self, image: NamedImage) -> tuple[Answer, Row]:
        """Return the answer for one image."""
        ...

    def replace_classifier(self, classifier: AnyClassifier) -> None:
        """Answer with another classifier."""
        ...

    def adopt_folder(self) -> None:
        """Load the folder's model, which this server has written."""
        ...

    def check_folder(self) -> None:
        """Load the model if its folder was changed by somebody else."""
        ...


def find_reason_against(classifier: AnyClassifier) -> str:
    """Return why a classifier cannot be corrected, or ""."""
    if not isinstance(classifier, Classifier):
        return (
            "this model gives several labels per image, and has no closed form to correct them by; "
            "fit it again with corrected labels"
        )
    try:
        get_summary(classifier)
    except InputError as error:
        return str(error)
    return ""


def find_class(label: str, classes: Sequence[str]) -> str:
    """Return the class that a user means: one of `classes` in its own spelling, or a new one.

    Raises:
        Problem: The name is empty, too long or not printable.
    """
    name = label.strip()
    if not name or len(name) > MAX_LABEL_LENGTH or not name.isprintable():
        raise Problem(422, f"a class needs a name of 1 to {MAX_LABEL_LENGTH} printable characters")
    known = {normalize_class_name(c): c for c in classes}
    return known.get(normalize_class_name(name), name)
