"""What a labelling session tells: suggestions, groups, progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ilk.labelling.agreement import Agreement
from ilk.labelling.audit import AuditResult
from ilk.labelling.learning_curve import LearningCurve


@dataclass(frozen=True)
class Suggestion:
    """An image to label next.

    Attributes:
        digest: The image.
        path: Where it was found, relative to the folder.
        label: The class that the model suggests; None while it knows fewer than two classes.
        probability: Its calibrated probability, in [0, 1]; None without a class.
        ranking: The most likely classes with their probabilities, the suggested one first.
    """

    digest: str
    path: str
    label: str | None = None
    probability: float | None = None
    ranking: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Group:
    """Images that may get one label together.

    Attributes:
        number: From 1.
        digests: The images, the most typical first.
        name: Suggested class: that of the model, or a word that the encoder has for a new group; ""
            where there is none.
        probability: Mean probability that the images are of that class, or show that word; None
            without a name.
        is_new: Whether the group is of no class that is known.
    """

    number: int
    digests: tuple[str, ...]
    name: str = ""
    probability: float | None = None
    is_new: bool = False


@dataclass(frozen=True)
class OwnAnswer:
    """An annotator's answer for one image.

    Attributes:
        digest: The image.
        kind: "label", "skip" or "unsure".
        label: The class; "" for other kinds.
    """

    digest: str
    kind: str
    label: str


@dataclass(frozen=True)
class UndoneAnswer:
    """An answer that was taken back.

    Attributes:
        kind: "label", "skip", "unsure", "resolve" or "add class".
        digests: Its images.
        label: Its class; "" for other kinds.
    """

    kind: str
    digests: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class Progress:
    """Where a session stands.

    Attributes:
        n_images: Images in the folder.
        n_given: Of these, how many the folder gives a class.
        n_labelled: Images with a class by an annotator.
        n_unsure: Images that have no class because somebody could not tell it.
        n_disputed: Images whose annotators differ; no model learns from them before they are
            resolved.
        n_gone: Images that were listed and are missing now; their labels are kept.
        n_unreadable: Images that could not be shown (`LabellingSession.mark_unreadable`).
        counts: Images per class, given ones included.
        answers: Answers by annotator, a group counting once.
        model_labels: Labels that the current model has learned from; 0 without a model.
        audit: How accurate the current model is, None before the first audited answer.
        curve: What more labels would buy; None before there is enough to tell.
        agreement: Cohen's kappa of each pair of annotators with common images.
        notes: Remarks for the user, one sentence each.
    """

    n_images: int
    n_given: int
    n_labelled: int
    n_unsure: int
    n_disputed: int
    n_gone: int
    n_unreadable: int
    counts: Mapping[str, int]
    answers: Mapping[str, int]
    model_labels: int
    audit: AuditResult | None
    curve: LearningCurve | None
    agreement: tuple[Agreement, ...]
    notes: tuple[str, ...]
