"""Check what is added to a classifier, and merge the class names."""

from __future__ import annotations

from ilk import methods
from ilk.artifacts.classifier import Classifier
from ilk.core.capabilities import ScoresClasses
from ilk.core.contracts import Method
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.images import normalize_class_name
from ilk.trust.summary_statistics import SummaryStatistics
from ilk.updates.extended_models import ExtendedModel, is_jointly_trained

REFIT_HINT = "fit it again with all images: ilk fit"


def get_summary(classifier: Classifier) -> SummaryStatistics:
    """Return the statistics that an extension needs.

    Raises:
        InputError: If the classifier has none.
    """
    if classifier.summary_statistics is not None and classifier.summary_statistics.width:
        return classifier.summary_statistics
    if isinstance(classifier.encoder, ScoresClasses):
        raise InputError(
            f"{classifier.encoder.name} gives one score for each class that its network was "
            f"trained on, so none can be added; pretrain it with the new class, or {REFIT_HINT}"
        )
    raise InputError(
        "this model has no statistics to be extended by (it was fitted without labels, on very "
        f"wide features, or by an older ilk); {REFIT_HINT}"
    )


def check_added(added: Data, summary: SummaryStatistics) -> None:
    """Check that rows can be added.

    Raises:
        InputError: If they are from another encoder, a row has no label, or a class has no name or
            no row.
    """
    summary.check_width(added.x)
    if not added.classes:
        raise InputError(
            "nothing there names a class, so there is nothing to add; pass --class-images NAME "
            "DIR, or a folder with one sub-folder per class"
        )
    for name, count in zip(added.classes, added.count_labels(), strict=True):
        if not name.strip():
            raise InputError("a class needs a name; write --class-images NAME DIR")
        if not count:
            raise InputError(f"there is no image of {name!r} that can be used; nothing was added")
    if (added.y < 0).any():
        raise InputError("only labelled images can be added; give each image a class")


def merge_class_names(
    classifier: Classifier,
    added: Data,
    method: Method | None,
    allow_known: bool,
    allow_fixed: bool = False,
) -> tuple[str, ...]:
    """Return the class names after the extension: the old ones, then the new ones.

    Args:
        classifier: The saved classifier.
        added: The rows to add.
        method: The method of the classifier; None if unknown.
        allow_known: Accept rows of known classes.
        allow_fixed: Accept rows of classes that were trained jointly as well.

    Raises:
        InputError: If a name is known and `allow_known` is False, or its class cannot be extended.
    """
    spellings = {normalize_class_name(name): name for name in classifier.classes}
    for name in added.classes:
        known = spellings.setdefault(normalize_class_name(name), name)
        if known != name:
            raise InputError(f"{name!r} is spelled like the class {known!r}; give it another name")
        if name not in classifier.classes:
            continue
        count = int(get_summary(classifier).counts[classifier.classes.index(name)])
        if not allow_known:
            raise InputError(
                f"the model knows {name!r} already, from {count:,} images; add these images to it "
                "with --allow-known, or give the class another name"
            )
        if not count or (not allow_fixed and is_fixed(classifier, name, method)):
            raise InputError(
                f"{name!r} was trained jointly with the other classes by "
                f"{classifier.metadata.get('method', 'its method')}, which cannot extend it; "
                f"{REFIT_HINT}"
            )
    return classifier.classes + tuple(n for n in added.classes if n not in classifier.classes)


def is_fixed(classifier: Classifier, name: str, method: Method | None) -> bool:
    """Return whether a known class cannot accept further rows by the method's own update."""
    n_old = (
        classifier.model.n_old
        if isinstance(classifier.model, ExtendedModel)
        else len(classifier.classes)
    )
    return is_jointly_trained(method) and classifier.classes.index(name) < n_old


def parse_method(classifier: Classifier) -> Method | None:
    """Return the method that the classifier was fitted with; None if this ilk does not know it."""
    try:
        return methods.parse(str(classifier.metadata.get("method", "")))
    except InputError:
        return None  # a method of another version: its model is kept as it is
