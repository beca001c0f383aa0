"""Settings of `ilk learn-metric`."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.errors import InputError, UnknownName
from ilk.metric_learning.projections import CLOSED_FORMS

DEFAULT_LOSS = "SupCon"
LEARNING_RATES = (1e-3, 6e-3)
HEAD, CONVOLUTIONAL = NETWORKS = ("head", "convolutional")


@dataclass(frozen=True)
class LearningConfig:
    """Settings of a learned embedding.

    Attributes:
        loss: Name of a loss of `list_losses`.
        width: Width of the embedding, >= 2.
        hidden: Hidden units of the head; 0 is a linear map.
        network: `head` on the features, or `convolutional` on the pixels of the base `pixels`.
        steps: Optimizer updates per training.
        seed: Seed of the division of classes, of weights and batches.

    Raises:
        InputError, UnknownName: A value is not supported.
    """

    loss: str = DEFAULT_LOSS
    width: int = 64
    hidden: int = 0
    network: str = HEAD
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in list_losses():
            raise UnknownName("loss", self.loss, list_losses())
        if self.network not in NETWORKS:
            raise UnknownName("network", self.network, NETWORKS)
        if self.width < 2 or self.steps < 1 or self.hidden < 0:
            raise InputError(
                f"the width is {self.width} and there are {self.hidden} hidden units and "
                f"{self.steps} updates; give a width of at least 2 and at least one update"
            )
        if self.network != HEAD and (self.hidden or self.is_closed_form):
            raise InputError(
                "a convolutional network has no hidden units to set, and LDA and Whitening have no "
                "network; leave --hidden and --network out"
            )

    @property
    def is_closed_form(self) -> bool:
        """Whether nothing is trained."""
        return self.loss in CLOSED_FORMS

    @property
    def grid(self) -> tuple[tuple[float | None, float], ...]:
        """Values of the loss's setting and learning rates to choose from."""
        if self.is_closed_form:
            return ((None, 0.0),)
        tuned = list_losses_with_settings()[self.loss]
        values: tuple[float | None, ...] = (None,) if tuned is None else tuned[1]
        return tuple((value, lr) for value in values for lr in LEARNING_RATES)

    @property
    def default(self) -> tuple[float | None, float]:
        """What is used where too few classes are there to choose: the loss's own default."""
        return (None, 0.0) if self.is_closed_form else (None, LEARNING_RATES[0])

    def describe_loss(self, value: float | None) -> str:
        """Return the loss as a call, such as `ProxyAnchor(margin=0.1)`."""
        tuned = None if self.is_closed_form else list_losses_with_settings()[self.loss]
        return self.loss if value is None or tuned is None else f"{self.loss}({tuned[0]}={value:g})"


def list_losses() -> list[str]:
    """Return the names that `loss` may have, sorted; the closed forms last."""
    return [*sorted(list_losses_with_settings()), *CLOSED_FORMS]


def list_losses_with_settings() -> dict[str, tuple[str, tuple[float, ...]] | None]:
    """Return the setting of each loss of `ilk.training.objectives` that learns an embedding."""
    from ilk.training.metric_objective import MetricObjective
    from ilk.training.objectives import list_objectives

    return {
        name: kind.TUNED
        for name, kind in list_objectives().items()
        if issubclass(kind, MetricObjective)
    }
