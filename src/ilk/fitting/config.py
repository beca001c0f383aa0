"""Define `FitConfig`, the settings of a fit."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.errors import InputError
from ilk.diffusion.classification.context import DEFAULT_PROMPTS
from ilk.fitting.selection_statistics import CRITERIA

__all__ = ["CRITERIA", "DEFAULT_PROMPTS", "FitConfig"]


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit.

    Attributes:
        encoders: Encoder names as given to `--encoder`. `default`, or an empty tuple, selects the
            default encoders that are available.
        classifiers: Diffusion classifiers to compare, `diffusion:PATH`.
        methods: Methods as text, such as `GDA(shrink=0.2)`; empty selects all suitable methods.
        folds: Number of cross-validation folds, at least 2.
        seed: Seed of the folds, the bootstrap and all methods.
        coverage: Target coverage of the conformal sets, in (0, 1).
        false_alarm: Rate at which images of known classes may be flagged as unknown, in (0, 1).
        criterion: Criterion of model selection: accuracy, macro_accuracy or log_loss.
        classes: Class names for zero-shot classification without labels.
        prompts: Prompts for text encoders, with `{}` in place of the class name.
        descriptions: Sentences for text encoders that describe appearance without naming a class;
            `DescriptionSelection` selects the discriminative ones.
        single: Use the best single candidate, and combine none into an ensemble.
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: torch, channels-last or openvino.
        precision: float32 or bfloat16.

    Raises:
        InputError: A value is out of range.
    """

    encoders: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    folds: int = 5
    seed: int = 0
    coverage: float = 0.9
    false_alarm: float = 0.05
    criterion: str = "accuracy"
    classes: tuple[str, ...] = ()
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    descriptions: tuple[str, ...] = ()
    single: bool = False
    device: str = "auto"
    runtime: str = "torch"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("coverage", "false_alarm"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise InputError(f"{name} is {value}; it must lie between 0 and 1")
        if self.folds < 2:
            raise InputError(f"folds is {self.folds}; cross-validation needs at least 2")
        if self.criterion not in CRITERIA:
            raise InputError(
                f"criterion is {self.criterion!r}; it must be one of {', '.join(CRITERIA)}"
            )
        for prompt in self.prompts:
            if "{}" not in prompt:
                raise InputError(f"the prompt {prompt!r} has no {{}} in place of the class name")
