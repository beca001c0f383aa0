"""Select rows of features: the choice of a rule, its verdict, and the rows in order of use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.core.progress import Progress, silent_progress
from ilk.maths.pca import find_axes
from ilk.subset_selection.choose_rows import Mode, choose_rows
from ilk.subset_selection.selectors import list_selectors, parse_selector
from ilk.subset_selection.trials import run_trials
from ilk.subset_selection.verdict import BASELINE, Verdict, reach_verdict

AUTO = "auto"
WIDTH = 128  # principal components of the features that are kept


@dataclass(frozen=True)
class SelectionConfig:
    """Settings of a selection.

    Attributes:
        keep: A fraction in (0, 1], or a number of images, an integer above 1.
        balance: Whether classes get equal counts, as far as they have images.
        method: Text of a selector, or "auto": the best on images left out, if it beats chance.
        seed: Seed of folds and of what is random.
    """

    keep: float
    balance: bool = False
    method: str = AUTO
    seed: int = 0

    def __post_init__(self) -> None:
        if not math.isfinite(self.keep) or self.keep <= 0:
            raise InputError(
                f"keep (--keep) is {self.keep:g}; give a fraction above 0 and at most 1, such as "
                "0.3, or a number of images, such as 500"
            )
        if self.keep > 1 and self.keep != int(self.keep):
            raise InputError(
                f"keep (--keep) is {self.keep:g}, which is neither a fraction of at most 1 nor a "
                "whole number of images"
            )
        if self.method != AUTO:
            parse_selector(self.method)

    def count(self, n: int, n_classes: int) -> int:
        """Return how many of `n` images are kept.

        Args:
            n: Number of images, >= 1.
            n_classes: Number of classes of which at least one image is kept; 0 or 1 for none.

        Raises:
            InputError: More are asked for than there are, or fewer than classes.
        """
        count = int(self.keep) if self.keep > 1 else round(self.keep * n)
        if count > n:
            raise InputError(
                f"keep (--keep) is {count:,} and there are {n:,} distinct pictures to choose from "
                "(copies count once); give a number of at most that, or a fraction"
            )
        if count < max(n_classes, 1):
            least = max(n_classes, 1)
            what = f"one per class ({least:,})" if n_classes > 1 else "one"
            raise InputError(
                f"keep (--keep) is {self.keep:g}, which keeps {count:,} of {n:,} images, and at "
                f"least {what} must be kept; give a larger number"
            )
        return count


@dataclass(frozen=True, eq=False)
class Selection:
    """Which rows are kept.

    Attributes:
        kept: Positions, the most useful first, `[count]`.
        scores: How useful each row is, `[n]`; comparable within a class.
        selector: Text of the selector.
        mode: What became of the classes.
        verdict: What was measured on images left out; None where nothing could be.
    """

    kept: NDArray[np.int64]
    scores: NDArray[np.float64]
    selector: str
    mode: Mode
    verdict: Verdict | None


def select_rows(
    source: Data,
    target: Data | None,
    config: SelectionConfig,
    progress: Progress = silent_progress,
    *,
    is_new: NDArray[np.bool_] | None = None,
) -> Selection:
    """Select rows of `source`, for a target or for what trains best.

    Args:
        source: Features `[n, d]`; without a target all have labels.
        target: Features `[m, d]`, m > 0, with labels in the classes of `source` or -1.
        config: Settings.
        progress: Reports each selection that is judged.
        is_new: Which rows of the target are none of the source, `[m]`: those that judge; None for
            all.

    Raises:
        NoLabels: There is neither a target nor a label, or classes are to be balanced without.
        InputError: `config` asks for more or fewer rows than possible, or names a selector that
            needs what is missing.
    """
    is_labelled = bool((source.y >= 0).all())
    if not is_labelled and (target is None or config.balance):
        raise NoLabels("images are balanced, and ranked without a target, by class: give labels")
    mode: Mode = "balanced" if config.balance else "proportional" if target is None else "free"
    n_classes = 0 if mode == "free" else len(np.unique(source.y))
    count = config.count(len(source), n_classes)
    names = list_candidates(target is not None, is_labelled)
    is_chosen = config.method == AUTO
    if not is_chosen:
        _check_method(config.method, target is not None, is_labelled)
        names = (config.method,)
    source, target = reduce_features(source, target)
    verdict = None
    if count < len(source) and names != (BASELINE,):
        judges = target if target is None or is_new is None else target.take(is_new)
        trials = run_trials(source, judges, names, count / len(source), mode, config.seed, progress)
        if trials is not None:
            verdict = reach_verdict(
                trials, config.seed, is_chosen=is_chosen, needs_proof=target is None
            )
    if not is_chosen:
        selector = config.method
    elif verdict is not None:
        selector = verdict.selector
    else:
        selector = BASELINE if target is None else "TargetDiscriminator"
    scores = parse_selector(selector).score(source, target, config.seed)
    row_mode: Mode = mode
    if mode == "free" and selector == BASELINE and is_labelled:
        row_mode = "proportional" if count >= len(np.unique(source.y)) else "free"
    return Selection(
        choose_rows(scores, source.y, count, row_mode), scores, selector, row_mode, verdict
    )


def list_candidates(has_target: bool, is_labelled: bool) -> tuple[str, ...]:
    """Return the texts of the selectors that are tried by default; the baseline is none of them."""
    return tuple(
        text
        for kind in list_selectors().values()
        if kind.needs_target == has_target
        and not kind.is_baseline
        and (is_labelled or not kind.needs_labels)
        for text in kind.list_candidates()
    )


def reduce_features(source: Data, target: Data | None) -> tuple[Data, Data | None]:
    """Return both in at most `WIDTH` principal axes of the source."""
    from dataclasses import replace

    if source.x.shape[1] <= WIDTH:
        return source, target
    centre, basis, _ = find_axes(source.x, np.float32)
    basis = basis[:, :WIDTH]
    if not basis.shape[1]:  # all rows are the same
        return source, target

    def project(data: Data) -> Data:
        return replace(data, x=np.asarray((data.x - centre) @ basis, np.float32))

    return project(source), None if target is None else project(target)


def _check_method(method: str, has_target: bool, is_labelled: bool) -> None:
    selector = parse_selector(method)
    if selector.needs_target and not has_target:
        raise InputError(
            f"{method} ranks images by their use for a target; name its folder with --target, or "
            "choose another --method"
        )
    if selector.needs_labels and not is_labelled:
        raise NoLabels(f"{method} needs a label for every image; choose another --method")
