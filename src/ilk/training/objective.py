"""The contract of a loss term: what the trainer minimizes.

An objective is an `nn.Module` whose parameters and buffers are its whole state. The trainer moves
them to the device, saves them with the network and restores them, so that a resumed run is the
same run. A plain function `(network, batch, generator) -> loss` is an objective without state.

    class Distillation(Objective):
        def forward(self, network, batch, step):
            return ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, overload

import torch
from torch import Tensor, nn

from ilk.architectures.head import Head
from ilk.training.batch import Batch
from ilk.training.optimizers import ParameterGroup
from ilk.training.sources import Source

LossFunction = Callable[[nn.Module, Batch, torch.Generator], Tensor]
"""`(network, batch, generator) -> loss`: a scalar, drawing from that generator alone."""
Augmentation = Callable[[Batch, torch.Generator], Batch]

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """Where a run stands when a loss is computed.

    Attributes:
        index: Number of updates made before this one.
        total: Number of updates of the whole run.
        generator: Source of randomness of this update, on the training device.
    """

    index: int
    total: int
    generator: torch.Generator

    @property
    def progress(self) -> float:
        """Fraction of the run that is complete after this update, in (0, 1]."""
        return (self.index + 1) / self.total


class Objective(nn.Module):
    """A loss term, with optional state, hooks and parameters of its own."""

    supports_weights: bool = True
    """Each row counts by `Batch.weight`; the trainer refuses uneven weights otherwise."""

    def setup(self, network: nn.Module, data: Source) -> None:
        """Create the state that depends on the network or on the training set.

        The trainer calls it once per run, before it restores a saved state.

        Args:
            network: The network to be trained, on its device.
            data: The training set.
        """

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the parameters trained with the network, with their learning rate and schedule.

        By default all trainable parameters of the objective, under the network's settings.
        """
        return [ParameterGroup(self)] if any(p.requires_grad for p in self.parameters()) else []

    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        """Update the state before the loss of a step, such as a mean teacher. No gradients."""

    def after_step(self, network: nn.Module, step: TrainingStep) -> None:
        """Update the state, or project the weights, after the optimizer's update. No gradients."""

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        """Return the loss of `batch`, a finite scalar.

        `network` may be wrapped (by `torch.compile`); use `unwrap` to reach its attributes.
        """
        raise NotImplementedError

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        """Return a small network of the kind this objective trains, from `d` features to `k`
        classes. Used to document and to test the objective."""
        return Head(d, 8, k)


class FunctionObjective(Objective):
    """An objective without state: a plain function."""

    def __init__(self, function: LossFunction) -> None:
        super().__init__()
        self.function = function

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        return self.function(network, batch, step.generator)


class WeightedSum(Objective):
    """A weighted sum of objectives."""

    def __init__(self, *terms: tuple[float, Objective | LossFunction]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in terms]
        self.terms = nn.ModuleList(as_objective(term) for _, term in terms)
        self.supports_weights = all(term.supports_weights for term in self._objectives())

    def setup(self, network: nn.Module, data: Source) -> None:
        for term in self._objectives():
            term.setup(network, data)

    def parameter_groups(self) -> list[ParameterGroup]:
        return [group for term in self._objectives() for group in term.parameter_groups()]

    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        for term in self._objectives():
            term.before_step(network, step)

    def after_step(self, network: nn.Module, step: TrainingStep) -> None:
        for term in self._objectives():
            term.after_step(network, step)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        losses = [term(network, batch, step) for term in self.terms]
        return torch.stack([w * x for w, x in zip(self.weights, losses, strict=True)]).sum()

    def _objectives(self) -> list[Objective]:
        return [term for term in self.terms if isinstance(term, Objective)]


class AugmentedObjective(WeightedSum):
    """An objective on batches changed by augmentations, applied in order."""

    def __init__(
        self, objective: Objective | LossFunction, augmentations: tuple[Augmentation, ...]
    ) -> None:
        super().__init__((1.0, objective))
        self.augmentations = augmentations

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        for augment in self.augmentations:
            batch = augment(batch, step.generator)
        loss: Tensor = self.terms[0](network, batch, step)
        return loss


def as_objective(objective: Objective | LossFunction) -> Objective:
    """Return `objective` itself, or a plain function wrapped as an objective."""
    return objective if isinstance(objective, Objective) else FunctionObjective(objective)


def augment_objective(
    objective: Objective | LossFunction, *augmentations: Augmentation
) -> Objective:
    """Return `objective` on batches changed by `augmentations`, applied in order."""
    return AugmentedObjective(objective, augmentations)


@overload
def unwrap(network: nn.Module) -> nn.Module: ...
@overload
def unwrap(network: nn.Module, kind: type[N]) -> N: ...
def unwrap(network: nn.Module, kind: type[nn.Module] = nn.Module) -> nn.Module:
    """Return the network inside `torch.compile` or a data-parallel wrapper.

    Args:
        network: A network, possibly wrapped, any number of times.
        kind: Class of the network inside.

    Raises:
        TypeError: The network inside is of another class.
    """
    while kind is nn.Module or not isinstance(network, kind):
        inner = network._modules.get("_orig_mod", network._modules.get("module"))
        if inner is None:
            break
        network = inner
    if not isinstance(network, kind):
        raise TypeError(f"the objective needs a {kind.__name__} and got {type(network).__name__}")
    return network
