"""The trainer: minimizes an objective over a network and returns the network's average.

Everything random in a step depends on the seed, the step and the process alone, and all state is
saved, so that a run that was interrupted and resumed ends where it would have ended, bit for bit on
one machine's CPU. Under `torchrun`, each process computes its part of every batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.training import checkpoint, distributed
from ilk.training import ema as averages
from ilk.training.batch import Batch
from ilk.training.layer_rates import make_layer_groups
from ilk.training.objective import (
    Augmentation,
    LossFunction,
    Objective,
    TrainingStep,
    as_objective,
    augment_objective,
)
from ilk.training.optimizers import set_learning_rates
from ilk.training.recipe import CheckpointConfig, DeviceConfig, Recipe
from ilk.training.rng import fork_global_generator, make_generator
from ilk.training.sources import Source, stream_batches
from ilk.training.validation import BestState, Validation

__all__ = [
    "Augmentation",
    "Batch",
    "CheckpointConfig",
    "DeviceConfig",
    "LossFunction",
    "Objective",
    "Recipe",
    "Validation",
    "augment_objective",
    "train",
]

N = TypeVar("N", bound=nn.Module)


def train(
    network: N,
    data: Source,
    objective: Objective | LossFunction,
    recipe: Recipe,
    device_config: DeviceConfig = DeviceConfig(),  # noqa: B008  (frozen)
    checkpointing: CheckpointConfig = CheckpointConfig(),  # noqa: B008  (frozen)
    validation: Validation | None = None,
) -> N:
    """Train `network` in place.

    Args:
        network: The network; parameters that require no gradient stay as they are.
        data: The training set: a `Batch` in memory, or another source of `ilk.training.sources`.
        objective: The loss to minimize.
        recipe: Hyperparameters.
        device_config: Where to train.
        checkpointing: What to save and report.
        validation: A measure that chooses the state to return and may end the run early.

    Returns:
        The average of the network over the run, in evaluation mode; with `validation`, that average
        at its best measure.

    Raises:
        InputError: `data` is empty, has uneven weights that `objective` ignores, or the saved state
            belongs to another run.
        DivergenceError: A gradient is not finite; the last good state is kept. With `validation`,
            the best state is returned instead, and its result has a note.
        OutputError: The state cannot be written.
    """
    if not len(data):
        raise InputError("there is no image to train on")
    device = device_config.device
    rank_rows = distributed.get_rank_rows(recipe.batch_size)
    network.to(device).train()
    _set_memory_format(device_config, network)
    ema = copy.deepcopy(network).requires_grad_(False).eval()
    loss_term = as_objective(objective).to(device).train()
    _check_weights(data, loss_term)
    loss_term.setup(network, data)
    loss_term.to(device)
    groups = [*make_layer_groups(network, recipe.layer_decay), *loss_term.parameter_groups()]
    optimizer = recipe.optimizer.build(
        groups, recipe.lr, recipe.weight_decay, recipe.get_schedule()
    )
    settings = recipe.describe() | ({"validation": validation.describe()} if validation else {})
    best = BestState(validation, ema, recipe.steps) if validation else None
    state = checkpoint.TrainState(network, ema, loss_term, optimizer, settings, best)
    done = state.resume(checkpointing.path)
    distributed.broadcast_state(network, ema, loss_term)
    run = _Run(network, loss_term, optimizer, recipe, device_config)
    steps = range(done, recipe.steps)
    if best:
        best.update(ema, done)
    with checkpointing.progress("training", len(steps)) as advance:
        losses: list[Tensor] = []
        batches = stream_batches(data, steps, recipe.batch_size, recipe.seed, rank_rows, device)
        for step, batch in zip(steps, batches, strict=True):
            if best and best.is_over:
                break
            loss, grad_norm = run.update(step, batch)
            if not bool(torch.isfinite(grad_norm)):
                error = state.make_divergence_error(step, float(loss), checkpointing.path)
                if not best:
                    raise error
                return _finish(device_config, network, best.finish(done, str(error)))
            averages.update_ema(ema, network, averages.compute_decay(step, recipe.ema_width))
            done = step + 1
            if best:
                best.update(ema, done)
            advance(1)
            losses.append(loss)
            is_last = done == recipe.steps or (best is not None and best.is_over)
            if done % checkpointing.interval == 0 or is_last:
                # The state comes last: a run that is killed in between makes both again.
                if checkpointing.on_checkpoint and distributed.is_main_process():
                    checkpointing.on_checkpoint(done, float(torch.stack(losses).mean()), ema)
                state.save(checkpointing.path, done)
                losses.clear()
    return _finish(device_config, network, best.finish(done) if best else ema)


def _set_memory_format(config: DeviceConfig, network: nn.Module) -> None:
    if config.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _finish(config: DeviceConfig, network: N, result: nn.Module) -> N:
    """Return `result` after both networks are back in PyTorch's usual order in memory."""
    if config.channels_last:
        for module in (network, result):
            module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return cast(N, result)


def _check_weights(data: Source, objective: Objective) -> None:
    """Raise InputError if rows have uneven weights that `objective` would ignore."""
    weight: Tensor | None = getattr(data, "weight", None)
    if objective.supports_weights or weight is None or bool((weight == weight[0]).all()):
        return
    raise InputError(
        f"{type(objective).__name__} cannot weight rows and the weights differ; "
        "give all rows the same weight, or choose another objective"
    )


@dataclass(eq=False)
class _Run:
    """One update at a time."""

    network: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    device_config: DeviceConfig

    def __post_init__(self) -> None:
        compiled = torch.compile(self.network) if self.device_config.torch_compile else self.network
        self.wrapped = cast(nn.Module, compiled)
        modules = (self.network, self.objective)
        self.clipped = [p for m in modules for p in m.parameters() if p.requires_grad]

    def update(self, step: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """Make update `step` from `batch`; the loss and the gradient's norm before clipping.

        Nothing is updated where that norm is not finite.
        """
        device = self.device_config.device
        if self.device_config.channels_last:
            batch = batch.to_channels_last()
        generator = make_generator(self.recipe.seed, step, device)
        training_step = TrainingStep(step, self.recipe.steps, generator)
        set_learning_rates(self.optimizer, step, self.recipe.steps)
        self.optimizer.zero_grad(set_to_none=True)
        self._call(self.objective.before_step, training_step)
        bfloat16 = self.device_config.precision == "bfloat16"
        with (
            fork_global_generator(generator),  # for layers that draw themselves, such as dropout
            torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=bfloat16),
        ):
            loss = self.objective(self.wrapped, batch, training_step)
        loss.backward()
        distributed.average_gradients(self.clipped)
        grad_norm = nn.utils.clip_grad_norm_(self.clipped, self.recipe.max_grad_norm)
        if bool(torch.isfinite(grad_norm)):
            self.optimizer.step()
            self._call(self.objective.after_step, training_step)
        return loss.detach(), grad_norm

    @torch.no_grad()
    def _call(self, hook: Callable[[nn.Module, TrainingStep], None], step: TrainingStep) -> None:
        hook(self.network, step)
