"""AdaNPC: nearest neighbours whose memory grows with confident test rows as the domain changes.

Yi-Fan Zhang, Xue Wang, Kexin Jin, Kun Yuan, Zhang Zhang, Liang Wang, Rong Jin, Tieniu Tan, 2023,
AdaNPC: Exploring Non-Parametric Classifier for Test-Time Adaptation, arXiv 2304.12566.

    u = (x - centre) / |x - centre|,  N(x) = the k rows v of the memory with the largest u'v
    s_c(x) = sum_{v in N(x), y_v = c} exp(u'v / T) / sum_{v in N(x)} exp(u'v / T)
    x enters the memory with the prediction argmax_c s_c(x) where max_c s_c(x) >= min_confidence

The rule is on s itself. The authors' program takes a second softmax before it compares: of a
probability that is at most e / (e + m - 1) with m classes, so that most of the thresholds they try
admit no row. Rows are centred first, and logits are `log((k s_c + 1 / m) / (k + 1))`: one vote is
spread over the classes, which changes no prediction.

The guard is an addition. Predictions for rows far from the memory are confident and wrong, and once
admitted they are the nearest rows of later ones. So a batch enters only if

- of the training rows that the others predict with `min_confidence`, at least `MIN_PRECISION` are
  right: where labels are noisy, admitted rows agree with each other more than training rows do;
- at most `MAX_FAR_FRACTION` of its rows, and of the last `WINDOW`, are far. A row is far if its
  similarity (mean cosine with the `N_NEIGHBOURS` nearest) to the memory is below that which all but
  `TAIL_FRACTION` of the training rows have to each other, and also its similarity to the rows
  admitted last below that which they have to each other: gradual change is followed, a jump is not.
  The whole batch is admitted or not, because its nearer rows alone would be a biased sample;
- the accuracy that its votes let expect has not dropped by more than `MAX_ESTIMATE_DROP` since the
  batches admitted before;
- no class has more of the last predictions than a third of the way from the largest class prior to
  1: a stream of one class cannot be distinguished from a collapse;
- the leave-one-out accuracy on training rows has not dropped by more than `max_accuracy_drop`, or
  one row.

Otherwise the memory stays as it is, and `message` says why. If one class has gained more than
`MAX_CLASS_GAIN` of all admitted rows compared with the initial memory's predictions, all of them
are removed. The constants are in `ilk.transduction.stream_checks`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.errors import InputError
from ilk.core.linear_models import normalize_rows
from ilk.core.neighbour_memory import NeighbourMemory
from ilk.transduction import stream_checks as drift

MAX_VALIDATION_ROWS = 300  # most training rows on which the guard measures accuracy


@dataclass(frozen=True)
class AdaNPC(MethodTags):
    """Nearest neighbours with a memory that `adapt` extends.

    Attributes:
        k: Number of neighbours that vote, >= 1.
        temperature: T, > 0; a smaller one gives the nearest more weight.
        min_confidence: Smallest winning vote of an admitted row, in [0, 1]; above 1 admits none.
        max_added: Largest number of admitted rows, >= 1; the oldest are removed first.
        max_accuracy_drop: Largest drop of the leave-one-out accuracy after a batch, >= 0; None is
            no guard at all, as in the paper.
        seed: Seed of the choice of validation rows where there are more than 300.
    """

    k: int = 20
    temperature: float = 0.05
    min_confidence: float = 0.8
    max_added: int = 1000
    max_accuracy_drop: float | None = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1 or self.max_added < 1 or not self.temperature > 0:
            raise ValueError(
                f"k is {self.k}, max_added {self.max_added} and temperature {self.temperature}; "
                "they must be at least 1, at least 1 and above 0"
            )
        if self.max_accuracy_drop is not None and not self.max_accuracy_drop >= 0:
            raise ValueError(
                f"max_accuracy_drop is {self.max_accuracy_drop}; it must be at least 0, or None"
            )

    def fit(self, data: Data) -> NeighbourMemory:
        known = labelled_features(data, self)
        centre = known.x.mean(0, dtype=np.float64).astype(np.float32)
        rows = normalize_rows(known.x.astype(np.float64) - centre).astype(np.float32)
        validation_rows = np.random.default_rng(self.seed).permutation(len(rows))[
            :MAX_VALIDATION_ROWS
        ]
        empty, k = np.zeros(0, np.int64), min(self.k, len(rows))
        memory = NeighbourMemory(
            *(
                centre,
                rows,
                known.y,
                known.y,
                len(rows),
                validation_rows,
                1.0,
                -1.0,
                empty.astype(np.float64),
            ),
            *(empty, k, self.temperature, data.k),
        )
        return calibrate(memory, self.min_confidence) if len(rows) > 1 else memory

    def adapt(self, model: NeighbourMemory, x: Features) -> tuple[Logits, NeighbourMemory]:
        """Return logits `[n, classes]` of a batch, and the memory after it.

        The logits are those of the memory before the batch. `model` is not changed.

        Args:
            model: The memory.
            x: Features of the batch, `[n, d]`.

        Raises:
            InputError: The features have another width than the training rows, or are not finite.
        """
        if np.ndim(x) != 2 or np.shape(x)[1] != len(model.centre):
            raise InputError(
                f"rows of shape {np.shape(x)} cannot be adapted to: the memory has rows of "
                f"{len(model.centre)} features; encode them with the same encoder"
            )
        if not np.isfinite(x).all():
            raise InputError("some features of the batch are not finite; remove those rows")
        cosines = model.compute_cosines(x)
        votes = model.compute_votes(cosines)
        predictions, window = votes.argmax(1), max(drift.WINDOW, len(votes))
        margin = drift.measure_margin(
            cosines, model.min_similarity, model.n_train, model.rows[model.n_train :]
        )
        similarity = np.append(model.recent_similarity, model.min_similarity + margin)
        is_sure = votes.max(1) >= model.min_vote - 1e-9
        sure_before = np.zeros(0) if model.recent_confident is None else model.recent_confident
        before = replace(
            model,
            recent_similarity=similarity[-window:],
            recent_predictions=np.append(model.recent_predictions, predictions)[-window:],
            recent_confident=np.append(sure_before, is_sure)[-window:].astype(np.int64),
        )
        is_confident = votes.max(1) >= self.min_confidence - 1e-9  # votes sum to 1 up to rounding
        initial_predictions = model.compute_votes(cosines[is_confident, : model.n_train]).argmax(1)
        after = self._add_rows(
            before, model.normalize(x[is_confident]), predictions[is_confident], initial_predictions
        )
        return model.votes_to_logits(
            votes
        ), after if self.max_accuracy_drop is None else self._apply_guard(before, after, len(x))

    def _add_rows(
        self,
        model: NeighbourMemory,
        directions: NDArray[np.float64],
        predictions: Labels,
        initial_predictions: Labels,
    ) -> NeighbourMemory:
        """The memory with these rows, without the oldest admitted ones if there are too many."""
        n = model.n_train

        def with_new(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
            recent = np.concatenate([old[n:], new.astype(old.dtype)])[-self.max_added :]
            return np.concatenate([old[:n], recent])

        return replace(
            model,
            rows=with_new(model.rows, directions),
            y=with_new(model.y, predictions),
            initial_predictions=with_new(model.initial_predictions, initial_predictions),
            message="",
        )

    def _apply_guard(
        self, before: NeighbourMemory, after: NeighbourMemory, n_new: int
    ) -> NeighbourMemory:
        """`after` if `n_new` rows may be admitted; else an earlier memory, with a message."""
        n = after.n_train
        max_prior = float(np.bincount(after.y[:n]).max() / n)
        reason = drift.explain_imprecision(before.confident_precision) or drift.explain_rejection(
            before.recent_similarity,
            before.recent_predictions,
            (before.min_similarity, max_prior),
            n_new,
        )
        confident = np.asarray(before.recent_confident, bool)
        reason = reason or drift.explain_estimate_drop(confident, before.expected_accuracy, n_new)
        if not reason and len(after.rows) > n:
            if (
                gain := drift.max_class_gain(after.y[n:], after.initial_predictions[n:])
            ) > drift.MAX_CLASS_GAIN:
                return before.reset(
                    f"all admitted rows were removed: one class has {gain:.0%} more of them than "
                    "the initial memory predicted"
                )
            accuracy_drop = after.initial_accuracy - after.measure_accuracy()
            max_drop = max(self.max_accuracy_drop or 0.0, 1.0 / len(after.validation_rows))
            if accuracy_drop > max_drop + 1e-9:
                reason = f"the accuracy on training rows would drop by {accuracy_drop:.1%}"
        if reason:
            return replace(before, message=f"no row was admitted: {reason}")
        expected = drift.update_expected_accuracy(before.expected_accuracy, confident[-n_new:])
        return replace(after, expected_accuracy=expected)


def calibrate(memory: NeighbourMemory, min_confidence: float) -> NeighbourMemory:
    """Return the memory with the limits of its guard, from its rows among each other.

    Args:
        memory: Training rows, at least 2.
        min_confidence: Smallest winning vote of an admitted row.
    """
    cosines = memory.compute_validation_cosines()
    votes = memory.compute_votes(cosines)
    similarity, winning = drift.mean_similarity(cosines), votes.max(1)
    is_correct = votes.argmax(1) == memory.y[memory.validation_rows]
    is_confident = winning >= min_confidence - 1e-9
    accuracy = float(np.mean(is_correct))
    min_vote = float(np.quantile(winning, 1 - accuracy, method="lower"))
    return replace(
        memory,
        initial_accuracy=accuracy,
        min_similarity=float(np.quantile(similarity, drift.TAIL_FRACTION)),
        min_vote=min_vote,
        expected_accuracy=float(np.mean(winning >= min_vote)),
        confident_precision=float(np.mean(is_correct[is_confident])) if is_confident.any() else 1.0,
    )
