"""`ClassifierConfig`: the settings of a `diffusion-classifier` encoder, as written in its name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ilk.core.errors import InputError
from ilk.diffusion.classification.scorer import STRATEGIES
from ilk.diffusion.errors.class_errors import Measure


@dataclass(frozen=True)
class ClassifierConfig:
    """How classes are scored; in a name, `PATH@strategy=naive,levels=16`.

    Attributes:
        strategy: `race` drops a class once it has lost; `naive` evaluates all levels for all
            classes; `staged` is the paper's two-stage pruning; `noise` uses the single noises
            that `ilk tune --noise-shots` chose.
        levels: Maximum number of noise levels; 0 selects 32, tuned ones if available. Two stages
            need 500 or more.
        error: Fraction of images whose answer a race may change, in (0, 1).
        seed: Seed of the noise.
        distance: Of epsilon: `l2`, `l1` or `huber` (quadratic up to 1).
        shortlist: Number of candidate classes from a nearest-mean head on the network's own
            features; 0 for all.
    """

    strategy: str = "race"
    levels: int = 0
    error: float = 0.003
    seed: int = 0
    distance: str = "l2"
    shortlist: int = 0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise InputError(f"no strategy is called {self.strategy!r}; choose one of {known}")
        if not 0 < self.error < 1:
            raise InputError(f"error is {self.error}; it must lie between 0 and 1")
        if self.shortlist < 0:
            raise InputError(f"shortlist is {self.shortlist}; it must be at least 0")
        if self.levels < 0:
            raise InputError(
                f"levels is {self.levels}; it must be at least 1, or 0 for the default"
            )
        Measure(distance=self.distance)

    @classmethod
    def parse(cls, text: str) -> ClassifierConfig:
        """Parse settings such as `strategy=naive,levels=16`.

        Raises:
            InputError: A setting is unknown or cannot be read.
        """
        field_types = {name: type(value) for name, value in asdict(cls()).items()}
        values: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            if name not in field_types:
                raise InputError(
                    f"no setting is called {name!r}; choose from {', '.join(field_types)}"
                )
            try:
                values[name] = field_types[name](value)
            except ValueError:
                raise InputError(
                    f"{name}={value!r} is not a valid {field_types[name].__name__}"
                ) from None
        return cls(**values)

    def __str__(self) -> str:
        default = asdict(ClassifierConfig())
        return ",".join(f"{k}={v}" for k, v in asdict(self).items() if v != default[k])


def split_name(text: str) -> tuple[str, str]:
    """Split a path from the settings after its last `@`; a path may contain an `@` itself."""
    path, separator, settings = text.rpartition("@")
    return (path, settings) if separator and "=" in settings else (text, "")
