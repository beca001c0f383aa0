"""Several teachers at once: their answers, what they say together, and how near they are.

By default the mean of their calibrated probabilities teaches, so they must know the same classes,
in whatever order. A loss that takes each teacher by itself (`SimilarSources`) weights it by how
near its features are to the task: PARC of the labelled training images (`ilk.ranking.parc`), on
those that no network was trained on where these suffice. For such a loss, teachers after the first
may have classes of their own; the first one's are those of the student.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError
from ilk.core.metrics import Probabilities
from ilk.core.progress import Progress, silent_progress
from ilk.core.short_lists import list_first
from ilk.distillation.parts import MIN_PART, Parts
from ilk.distillation.teacher import compute_probabilities, describe_seen
from ilk.fitting.leakage import is_held_out
from ilk.images import Images, Row
from ilk.images.value_ranges.model_ranges import use_ranges
from ilk.ranking import parc
from ilk.store import Store

TEACHER, TOGETHER = "teacher", "teachers together"
MAX_SHOWN = 5  # names of classes


@dataclass(frozen=True, eq=False)
class Teachers:
    """Classifiers that teach one student.

    Attributes:
        members: The classifiers; the classes of the first are those of the student.
    """

    members: tuple[Classifier, ...]

    @classmethod
    def of(
        cls, given: Classifier | Sequence[Classifier], *, takes_sources: bool = False
    ) -> Teachers:
        """Return the teachers.

        Args:
            given: One classifier, or several.
            takes_sources: Whether those after the first may have classes of their own.

        Raises:
            InputError: There is none, or they know different classes and must not.
        """
        members = (given,) if isinstance(given, Classifier) else tuple(given)
        if not members:
            raise InputError("there is no teacher; give one classifier at least")
        teachers = cls(members)
        for number, member in enumerate(members[1:], 2):
            if not takes_sources and not teachers.knows_classes(member):
                raise InputError(_describe_other_classes(members[0], member, number))
        return teachers

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the student."""
        return self.members[0].classes

    @property
    def names(self) -> tuple[str, ...]:
        """A name of each: `teacher`, or `teacher 1` and so on."""
        if len(self.members) == 1:
            return (TEACHER,)
        return tuple(f"{TEACHER} {i + 1}" for i in range(len(self.members)))

    @property
    def encoders(self) -> list[Embeds]:
        """The different encoders."""
        return list({m.encoder.space.key: m.encoder for m in self.members}.values())

    def knows_classes(self, member: Classifier) -> bool:
        """Whether a classifier has the classes of the student, in whatever order."""
        return set(member.classes) == set(self.classes)

    def use_ranges(
        self, images: Images, store: Store, progress: Progress = silent_progress
    ) -> Images:
        """Return the images as the teachers read them.

        Raises:
            InputError: They read images of more than 8 bits with different ranges of values.
        """
        first, *others = (use_ranges(images, m.value_ranges, store, progress) for m in self.members)
        digests = [row.digest for row in first.rows]
        if any([row.digest for row in other.rows] != digests for other in others):
            raise InputError(
                "the teachers read these images of more than 8 bits with different value ranges; "
                "fit them with the same one (--value-range), or give one of them"
            )
        return first

    def answer(self, rows: Sequence[Row], store: Store) -> list[Probabilities]:
        """Return what each says of encoded images: calibrated probabilities `[n, k_s]`.

        The classes of those that know the student's are in the student's order.
        """
        answers = (compute_probabilities(member, rows, store) for member in self.members)
        return [self.sort_classes(m, p) for m, p in zip(self.members, answers, strict=True)]

    def sort_classes(self, member: Classifier, p: Probabilities) -> Probabilities:
        """Return probabilities `[n, k_s]` of one teacher in the student's order of classes.

        They stay as they are if it has other classes.
        """
        if member.classes == self.classes or not self.knows_classes(member):
            return p
        return p[:, [member.classes.index(name) for name in self.classes]]

    def mix(
        self, answers: Sequence[Probabilities], weights: Sequence[float] | None = None
    ) -> Probabilities:
        """Return the weighted mean of what those with the student's classes say, `[n, k]`.

        Args:
            answers: What each says, `[n, k_s]`, from `answer`.
            weights: Weight of each, >= 0; None weights them equally, as do weights that are 0 for
                all that have these classes.
        """
        used = [i for i, member in enumerate(self.members) if self.knows_classes(member)]
        share = np.array([1.0 if weights is None else weights[i] for i in used])
        share = share / share.sum() if share.sum() > 0 else np.full(len(used), 1 / len(used))
        return np.asarray(sum(w * answers[i] for w, i in zip(share, used, strict=True)))

    def measure_similarities(self, parts: Parts, store: Store) -> list[float] | None:
        """Return PARC of each teacher's features of the labelled training images.

        None where they are of one class.
        """
        labelled = [row for row in parts.train if row.label is not None]
        unseen = np.all([is_held_out(m.encoder, labelled) for m in self.members], axis=0)
        new = [row for row, is_new in zip(labelled, unseen, strict=True) if is_new]
        if len(new) >= MIN_PART and len({row.label for row in new}) > 1:
            labelled = new
        if len({row.label for row in labelled}) < 2:
            return None
        y, digests = parts.encode_labels(tuple(labelled)), [row.digest for row in labelled]
        return [parc.score(store.get(m.encoder.space, digests), y) for m in self.members]

    def describe_seen(self, images: Images, rows: Sequence[Row]) -> list[str]:
        """Return which of `rows` each was fitted or trained on, as far as known, in sentences."""
        pairs = zip(self.members, self.names, strict=True)
        notes = (describe_seen(member, images, rows, name) for member, name in pairs)
        return [note for note in notes if note]

    def describe_weights(
        self, weights: Sequence[float], similarities: Sequence[float] | None
    ) -> str:
        """Return the weight of each in a sentence; "" for a single teacher."""
        if len(self.members) == 1:
            return ""
        shown = [
            f"{name} {weight:.2f}" + ("" if similarities is None else f" ({similarities[i]:.2f})")
            for i, (name, weight) in enumerate(zip(self.names, weights, strict=True))
        ]
        why = "as set"
        if similarities is not None:
            why = (
                "by how near its features are to these classes (in brackets: PARC, the rank "
                "correlation of features and labels)"
            )
        return f"weight of each teacher, {why}: {', '.join(shown)}"


def _describe_other_classes(first: Classifier, other: Classifier, number: int) -> str:
    """Say which classes only one of two teachers knows."""
    words = []
    for have, lack, who in ((first, other, "lacks"), (other, first, "also has")):
        names = [name for name in have.classes if name not in lack.classes]
        if names:
            words.append(f"{who} {list_first([repr(name) for name in names], MAX_SHOWN)}")
    return (
        f"teachers must know the same classes, and teacher {number} {' and '.join(words)}, "
        "compared with teacher 1; give teachers of the same classes, or take --loss "
        "SimilarSources, which learns from each teacher's own classes"
    )
