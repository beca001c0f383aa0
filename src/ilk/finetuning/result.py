"""What tuning gave beside the frozen network: the candidates, the choice and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ilk.core.data import Labels
from ilk.core.metrics import Interval
from ilk.finetuning.judge import Answers, measure_accuracy
from ilk.maths.clusters import compare_means, compute_error

FROZEN = "frozen"


@dataclass(frozen=True, eq=False)
class Candidate:
    """The network as it is, or a tuned variant of it.

    Attributes:
        name: `frozen`, or what was tuned.
        validation: What a head on its features says of the validation part.
        held_out: The same of the images held out; None without any.
        n_trained: Number of parameters that were trained.
        seconds: Time that training took.
        n_bytes: Memory that training took, besides the network and its input.
        note: How its training ended, if before its time.
        is_changed: Whether the best state of its training is another than that before it.
    """

    name: str
    validation: Answers
    held_out: Answers | None
    n_trained: int = 0
    seconds: float = 0.0
    n_bytes: int = 0
    note: str = ""
    is_changed: bool = False


@dataclass(frozen=True, eq=False)
class Comparison:
    """A tuned network minus the frozen one on the same images.

    Attributes:
        accuracy: Difference in accuracy.
        log_probability: Difference in mean log probability of the true class.
        n: Number of images.
        is_held_out: Whether the images were held out; else they chose the variant.
    """

    accuracy: Interval
    log_probability: Interval
    n: int
    is_held_out: bool

    @property
    def is_gain(self) -> bool:
        """Whether the tuned network is better beyond chance, and not worse in accuracy."""
        is_surer = self.log_probability.low > 0 and self.accuracy.value >= 0
        return self.accuracy.low > 0 or is_surer

    def describe(self) -> str:
        """Return the differences in words."""
        a, p = self.accuracy, self.log_probability
        where = "held out" if self.is_held_out else "of the validation part, which chose it"
        return (
            f"{100 * a.value:+z.1f} points of accuracy on {self.n:,} images {where} (95 % interval "
            f"{100 * a.low:+z.1f} to {100 * a.high:+z.1f}), {-p.value:+z.3f} in log loss "
            f"({-p.high:+z.3f} to {-p.low:+z.3f})"
        )


def compare_candidates(tuned: Candidate, frozen: Candidate, groups: Labels) -> Comparison:
    """Compare a tuned network with the frozen one on the images held out, or on the validation.

    Args:
        tuned: The tuned one.
        frozen: The other.
        groups: Group of each of these images, `[n]`.
    """
    is_held_out = tuned.held_out is not None and frozen.held_out is not None
    ours = tuned.held_out if tuned.held_out is not None else tuned.validation
    theirs = frozen.held_out if frozen.held_out is not None else frozen.validation
    return Comparison(
        compare_means(ours.is_correct.astype(float), theirs.is_correct.astype(float), groups),
        compare_means(ours.log_probability, theirs.log_probability, groups),
        len(ours.is_correct),
        is_held_out,
    )


def choose(candidates: Sequence[Candidate], groups: Labels) -> int:
    """Return the position of the candidate that the validation part chooses; the first is frozen.

    The best tuned one must be better than the frozen one by more than the standard error of the
    difference; else the simpler one is kept (the rule of one standard error; Leo Breiman and
    others, 1984, Classification and Regression Trees, section 3.4.3).

    Args:
        candidates: The frozen network, and tuned ones.
        groups: Group of each image of the validation part, `[n]`.
    """
    best = find_best(candidates)
    gain = candidates[best].validation.log_probability - candidates[0].validation.log_probability
    return best if candidates[best].is_changed and gain.mean() > compute_error(gain, groups) else 0


def find_best(candidates: Sequence[Candidate]) -> int:
    """Return the position of the tuned candidate that the validation part finds best."""
    scores = [(c.is_changed, c.validation.score) for c in candidates[1:]]
    return 1 + scores.index(max(scores))


@dataclass(frozen=True, eq=False)
class FinetuneResult:
    """What `finetune` found, and wrote if it is of use.

    Attributes:
        folder: The folder of the tuned network.
        is_written: Whether it was written.
        is_better: Whether tuning paid.
        candidates: The frozen network, and tuned ones.
        best: Position of the tuned one that validation found best.
        chosen: Position of the one that validation chose; 0 is the frozen one.
        comparison: The best tuned one against the frozen one.
        groups: Group of each image held out, `[n]`.
        n_train: Number of images that were trained on.
        n_validation: Number of images of the validation part.
        n_held_out: Number of images that took no part.
        seconds: Time of it all.
        notes: Sentences about the result, the verdict first.
    """

    folder: Path
    is_written: bool
    is_better: bool
    candidates: tuple[Candidate, ...]
    best: int
    chosen: int
    comparison: Comparison
    groups: Labels
    n_train: int
    n_validation: int
    n_held_out: int
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "network": str(self.folder) if self.is_written else None,
            "kept": self.is_better,
            "chosen": self.candidates[self.chosen].name,
            "images": self.n_train,
            "validation": self.n_validation,
            "held_out": self.n_held_out,
            "seconds": self.seconds,
            **summarize(self.candidates, self.comparison, self.groups),
            "notes": list(self.notes),
        }


def summarize(
    candidates: Sequence[Candidate], comparison: Comparison, groups: Labels
) -> dict[str, Any]:
    """Return candidates and their comparison as plain values; groups of images held out, `[n]`."""
    return {
        "candidates": [_describe(candidate, groups) for candidate in candidates],
        "gain": {
            "accuracy": comparison.accuracy.to_json(),
            "log_probability": comparison.log_probability.to_json(),
            "images": comparison.n,
            "held_out": comparison.is_held_out,
        },
    }


def _describe(candidate: Candidate, groups: Labels) -> Mapping[str, Any]:
    held_out = candidate.held_out
    return {
        "name": candidate.name,
        "validation_accuracy": float(candidate.validation.is_correct.mean()),
        "validation_log_loss": 0.0 - candidate.validation.score,
        "accuracy": None if held_out is None else asdict(measure_accuracy(held_out, groups)),
        "log_loss": None if held_out is None else 0.0 - held_out.score,
        "trained_parameters": candidate.n_trained,
        "seconds": candidate.seconds,
        "training_bytes": candidate.n_bytes,
    }
