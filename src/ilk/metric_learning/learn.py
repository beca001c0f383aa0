"""Learn an embedding, and find out on classes that were held out whether it is of use.

Classes are divided into three parts. Each part is the judge once: the setting of the loss and the
learning rate are chosen by training on one of the other two and scoring the other, the embedding
is trained on both, and the images of the judge, whose classes it never saw, search each other. So
every class is judged once, by an embedding that neither learned from it nor was chosen with it. The
final embedding is trained on all classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.metrics import Interval
from ilk.core.progress import Progress, silent_progress
from ilk.maths.pca import find_axes
from ilk.maths.retrieval import bootstrap_classes, mean_known, score_retrieval
from ilk.metric_learning.config import CONVOLUTIONAL, LearningConfig
from ilk.metric_learning.ledger import Ledger
from ilk.metric_learning.predecessor import ClassVertices
from ilk.metric_learning.projections import CLOSED_FORMS, make_projection
from ilk.metric_learning.training import EmbeddingRecipe, embed_rows, train_embedding
from ilk.training.metric_objective import MetricObjective
from ilk.training.objectives import list_objectives

MIN_CLASSES = 4  # two to learn from, and two that were held out
MIN_TUNED_CLASSES = 6  # and two more to choose settings on
MAX_JUDGED = 4000  # images of a part that search each other
RAW, LEARNED = "features as they are", "learned"
RECALL, MAP_AT_R = METRICS = ("recall at 1", "mAP@R")

Setting = tuple[float | None, float]
Scores = dict[str, dict[str, NDArray[np.float64]]]  # by metric and embedding, one per query


@dataclass(frozen=True, eq=False)
class LearningRows:
    """What an embedding is learned from.

    Attributes:
        x: Features of the base encoder, `[n, d]`.
        y: Class of each row, `[n]`.
        groups: Group of each row, `[n]`; -1 for a group of its own.
        shape: Channels, height and width if the features are pixels.
    """

    x: NDArray[np.float32]
    y: Labels
    groups: Labels
    shape: tuple[int, int, int] | None = None

    def take(self, rows: NDArray[Any]) -> LearningRows:
        """Return the rows at positions, or under a mask, `rows [m]`."""
        return replace(self, x=self.x[rows], y=self.y[rows], groups=self.groups[rows])

    @cached_property
    def axes(self) -> Any:
        """Principal axes of the features, for the start of a head."""
        return find_axes(self.x, np.float32)


@dataclass(frozen=True, eq=False)
class LearnedEmbedding:
    """The result of `learn_embedding`.

    Attributes:
        network: The embedding, trained on all rows.
        loss: The loss with its setting, such as `ProxyAnchor(margin=0.1)`.
        lr: The learning rate.
        is_tuned: Whether settings were chosen; with few classes they are defaults.
        n_classes: Number of classes that were judged.
        n_queries: Number of images that were judged.
        scores: Mean of each metric for each embedding, with its interval over classes.
        gains: Gain of the learned embedding over each other one, likewise.
    """

    network: nn.Module
    loss: str
    lr: float
    is_tuned: bool
    n_classes: int
    n_queries: int
    scores: Mapping[str, Mapping[str, Interval]]
    gains: Mapping[str, Mapping[str, Interval]]

    @property
    def is_better(self) -> bool:
        """Whether mAP@R of unseen classes is above that of the features beyond chance."""
        return self.gains[MAP_AT_R][RAW].low > 0

    @property
    def better_projections(self) -> list[str]:
        """Closed forms that retrieve unseen classes better than the learned one beyond chance."""
        return [name for name in CLOSED_FORMS if self.gains[MAP_AT_R][name].high < 0]


def learn_embedding(
    rows: LearningRows,
    config: LearningConfig,
    ledger: Ledger,
    progress: Progress = silent_progress,
    vertices: ClassVertices | None = None,
) -> LearnedEmbedding:
    """Learn an embedding of rows and judge it on classes that were held out.

    Args:
        rows: Labelled rows.
        config: Settings.
        ledger: Trainings that an interrupted run has finished.
        progress: Reports each training.
        vertices: Places of the classes under `DSimplex`, and the version before, from which only
            the final embedding goes on: it knows the classes that are judged.

    Raises:
        InputError: Fewer than `MIN_CLASSES` classes have two rows, of two groups.
    """
    rows = keep_pairs(rows)
    part = divide_classes(rows.y, config.seed)
    n_parts = int(part.max()) + 1
    grid = config.grid if n_parts > 2 else (config.default,)
    n_trainings = n_parts * ((len(grid) if len(grid) > 1 else 0) + 1) + 1
    run = _Learning(rows, config, ledger, part)
    with progress("learning", n_trainings) as advance:
        choices = [run.score_settings(judge, grid, advance) for judge in range(n_parts)]
        judged = [
            run.judge(judge, grid[int(np.argmax(choices[judge]))], advance)
            for judge in range(n_parts)
        ]
        setting = grid[int(np.argmax(np.mean(choices, axis=0)))]
        if vertices is None:
            network = run.train(rows, setting)
        else:
            network = run.train_in_place(rows, setting, vertices)
        advance(1)
    y = np.concatenate([labels for labels, _ in judged])
    scores = _join([found for _, found in judged])
    means, gains = _summarize(scores, y)
    value, lr = setting
    return LearnedEmbedding(
        network,
        config.describe_loss(value),
        lr,
        len(grid) > 1,
        len(np.unique(y)),
        len(y),
        means,
        gains,
    )


def keep_pairs(rows: LearningRows) -> LearningRows:
    """Return the rows of classes with at least two rows of different groups.

    Raises:
        InputError: There are fewer than `MIN_CLASSES` such classes.
    """
    kept = [c for c in np.unique(rows.y[rows.y >= 0]) if _count_units(rows.groups[rows.y == c]) > 1]
    if len(kept) < MIN_CLASSES:
        of_groups = " of different groups" if (rows.groups >= 0).any() else ""
        raise InputError(
            f"{len(kept)} classes have two images or more{of_groups}, and at least {MIN_CLASSES} "
            "are needed: an embedding is judged on classes that it was not trained on; label more "
            "classes, or fit a classifier on the features as they are (ilk fit)"
        )
    return rows.take(np.isin(rows.y, kept))


def divide_classes(y: Labels, seed: int) -> Labels:
    """Return the part of each row's class, `[n]`: three parts, or two of four or five classes."""
    names, labels = np.unique(y, return_inverse=True)
    n_parts = 3 if len(names) >= MIN_TUNED_CLASSES else 2
    place = np.random.default_rng(seed).permutation(len(names)) % n_parts
    return np.asarray(place[labels], np.int64)


@dataclass(frozen=True, eq=False)
class _Learning:
    """Trainings on parts of the classes."""

    rows: LearningRows
    config: LearningConfig
    ledger: Ledger
    part: Labels

    def score_settings(
        self, judge: int, grid: tuple[Setting, ...], advance: Callable[[int], None]
    ) -> list[float]:
        """Return mAP@R of the validation part under each setting, the judge's part left aside."""
        if len(grid) == 1:
            return [0.0]
        validation, training = ((judge + shift) % 3 for shift in (1, 2))
        learned_from = self.rows.take(self.part == training)
        held_out = self._draw_judged(validation)
        scores = []
        for setting in grid:

            def measure(setting: Setting = setting) -> list[float]:
                z = embed_rows(self.train(learned_from, setting), held_out.x)
                found = score_retrieval(z, held_out.y, groups=held_out.groups)
                return [mean_known(found.ap_at_r)]

            scores += self.ledger.get_or_make(f"validation {judge} {setting}", measure)
            advance(1)
        return scores

    def judge(
        self, judge: int, setting: Setting, advance: Callable[[int], None]
    ) -> tuple[Labels, Scores]:
        """Return the classes of the judge's images and their scores under each embedding."""
        learned_from = self.rows.take(self.part != judge)
        held_out = self._draw_judged(judge)
        shown: dict[str, Callable[[], NDArray[np.float32]]] = {
            LEARNED: lambda: embed_rows(self.train(learned_from, setting), held_out.x),
            RAW: lambda: held_out.x,
        }
        for name in CLOSED_FORMS:
            shown[name] = lambda name=name: embed_rows(  # type: ignore[misc]
                make_projection(name, learned_from.x, learned_from.y, self.config.width),
                held_out.x,
            )
        scores: Scores = {metric: {} for metric in METRICS}
        for name, make in shown.items():

            def measure(make: Callable[[], NDArray[np.float32]] = make) -> list[float]:
                found = score_retrieval(make(), held_out.y, groups=held_out.groups)
                return [*found.recall[0].tolist(), *found.ap_at_r.tolist()]

            values = np.array(self.ledger.get_or_make(f"judge {judge} {setting} {name}", measure))
            scores[RECALL][name], scores[MAP_AT_R][name] = np.split(values, 2)
        advance(1)
        return held_out.y, scores

    def train(self, rows: LearningRows, setting: Setting) -> nn.Module:
        """Return the embedding of these rows under a setting."""
        config, (value, lr) = self.config, setting
        if config.is_closed_form:
            return make_projection(config.loss, rows.x, rows.y, config.width)
        recipe = EmbeddingRecipe(config.steps, lr, seed=config.seed)
        network = make_network(rows, config)
        return train_embedding(network, rows.x, rows.y, make_loss(config.loss, value), recipe)

    def train_in_place(
        self, rows: LearningRows, setting: Setting, vertices: ClassVertices
    ) -> nn.Module:
        """Return the embedding whose classes have given vertices, on from the version before."""
        value, lr = setting
        network = vertices.make_network() or make_network(rows, self.config)
        recipe = EmbeddingRecipe(self.config.steps, lr, seed=self.config.seed)
        loss = vertices.make_loss(value, rows.y)
        return train_embedding(network, rows.x, rows.y, loss, recipe)

    def _draw_judged(self, part: int) -> LearningRows:
        """Return the rows of a part, at most `MAX_JUDGED` of them, drawn at random."""
        rows = np.flatnonzero(self.part == part)
        if len(rows) > MAX_JUDGED:
            rng = np.random.default_rng([self.config.seed, part])
            rows = np.sort(rng.permutation(rows)[:MAX_JUDGED])
        return self.rows.take(rows)


def make_network(rows: LearningRows, config: LearningConfig) -> nn.Module:
    """Return the network that is to be trained on rows."""
    if config.network != CONVOLUTIONAL:
        from ilk.architectures.metric_head import MetricHead

        return MetricHead.from_axes(
            rows.axes, len(rows.x), config.width, config.hidden, config.seed
        )
    from ilk.architectures.convolutional_embedding import ConvolutionalEmbedding

    if rows.shape is None:
        raise InputError(
            "a convolutional network reads pixels; give it an encoder such as "
            "--encoder pixels/32x32x3, or leave --network out"
        )
    return ConvolutionalEmbedding(rows.shape[0], rows.shape[1:], config.width, seed=config.seed)


def make_loss(name: str, value: float | None) -> MetricObjective:
    """Return the loss called `name` with a value of its setting; None is the default."""
    kind: Any = list_objectives()[name]
    return kind() if value is None else kind(**{kind.TUNED[0]: value})  # type: ignore[no-any-return]


def _count_units(groups: Labels) -> int:
    """Return the number of groups `[n]`, each row of -1 being one."""
    return int((groups < 0).sum()) + len(np.unique(groups[groups >= 0]))


def _join(parts: list[Scores]) -> Scores:
    return {
        metric: {
            name: np.concatenate([part[metric][name] for part in parts])
            for name in parts[0][metric]
        }
        for metric in METRICS
    }


def _summarize(
    scores: Scores, y: Labels
) -> tuple[dict[str, dict[str, Interval]], dict[str, dict[str, Interval]]]:
    """Return the mean of each metric and embedding, and the gain of the learned one."""
    means, gains = {}, {}
    for metric, by_name in scores.items():
        means[metric] = {n: Interval(*bootstrap_classes(v, y)) for n, v in by_name.items()}
        gains[metric] = {
            name: Interval(*bootstrap_classes(by_name[LEARNED] - values, y))
            for name, values in by_name.items()
            if name != LEARNED
        }
    return means, gains
