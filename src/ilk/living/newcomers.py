"""What may be added to a classifier, and under which names; what may not is said in a sentence."""

from __future__ import annotations

from ilk import methods
from ilk.classifier import Classifier
from ilk.data import Data
from ilk.encoders import ScoresClasses
from ilk.errors import InputError
from ilk.images import folded
from ilk.living.widened import Widened, whole
from ilk.models import Method
from ilk.trust.kept import Kept

AGAIN = "fit it again with all images: ilk fit"


def growable(classifier: Classifier) -> Kept:
    """What the classifier keeps to grow by.

    Raises:
        InputError: It keeps nothing; says why and what to do.
    """
    if classifier.kept is not None and classifier.kept.width:
        return classifier.kept
    if isinstance(classifier.encoder, ScoresClasses):
        raise InputError(
            f"{classifier.encoder.name} gives one score for each class that its network was "
            f"trained on, so none can be added; pretrain it with the new class, or {AGAIN}"
        )
    raise InputError(
        "this model keeps no statistics to grow by (it learnt without labels, from very wide "
        f"features, or with an older ilk); {AGAIN}"
    )


def check(added: Data, kept: Kept) -> None:
    """Whether rows can be added at all.

    Raises:
        InputError: They are of another encoder, without a label or a name, or a class has none.
    """
    kept.fits(added.x)
    if not added.classes:
        raise InputError(
            "nothing there names a class, so there is nothing to add; give --class NAME DIR, or a "
            "folder with one sub-folder a class"
        )
    for name, count in zip(added.classes, added.counts(), strict=True):
        if not name.strip():
            raise InputError("a class needs a name; write --class NAME FOLDER")
        if not count:
            raise InputError(f"there is no image of {name!r} that can be used; nothing was added")
    if (added.y < 0).any():
        raise InputError("only labelled images can be added; name the class of each")


def named(
    classifier: Classifier, added: Data, method: Method | None, more: bool
) -> tuple[str, ...]:
    """The classes there will be: the old ones, then the new.

    Raises:
        InputError: A name is known already and `more` is false, or its class cannot be added to.
    """
    spelt = {folded(name): name for name in classifier.classes}
    for name in added.classes:
        known = spelt.setdefault(folded(name), name)
        if known != name:
            raise InputError(f"{name!r} is spelled like the class {known!r}; give it another name")
        if name not in classifier.classes:
            continue
        count = int(growable(classifier).counts[classifier.classes.index(name)])
        if not more:
            raise InputError(
                f"the model knows {name!r} already, from {count:,} images; add these to them with "
                "--more, or give the class another name"
            )
        if not count or _fixed(classifier, classifier.classes.index(name), method):
            raise InputError(
                f"{name!r} was learnt together with the other classes by "
                f"{classifier.about.get('method', 'its head')}, which cannot learn more of it by "
                f"itself; {AGAIN}"
            )
    return classifier.classes + tuple(n for n in added.classes if n not in classifier.classes)


def _fixed(classifier: Classifier, c: int, method: Method | None) -> bool:
    """Whether class `c` cannot learn from more rows."""
    old = classifier.model.old if isinstance(classifier.model, Widened) else len(classifier.classes)
    return whole(method) and c < old


def method_of(classifier: Classifier) -> Method | None:
    """The head that it was fitted with; None where this ilk does not know it."""
    try:
        return methods.parse(str(classifier.about.get("method", "")))
    except InputError:
        return None  # a method of another ilk: its model is taken as it is
