"""Transductive EM unrolled into layers whose hyperparameters are learned, one set per layer.

Long Zhou, Fereshteh Shakeri, Aymen Sadraoui, Mounir Kaaniche, Jean-Christophe Pesquet, Ismail Ben
Ayed, 2025, UNEM: UNrolled Generalized EM for Transductive Few-Shot Learning, arXiv 2412.16739, with
Gaussians of one spherical covariance 1 / t (their model for networks without text).

    layer l   u_nk = softmax_k(s_l t (x_n . w_k - |w_k|^2 / 2) + balance_l v_k)
              w_k  = (sum of labelled rows + sum_n u_nk x_n) / (their count + sum_n u_nk)
              v_k  = log mean_n u_nk

`fit_unem` unrolls the layers over tasks of other classes and minimizes the cross-entropy of the
last layer's u over s and balance, each kept positive as softplus of a free parameter. The default
weights come from a file of the package, which says what they were learned on: tasks of several data
sets, numbers of classes and balances of the queries, since weights learned on uneven queries alone
lose much on even ones. Departures:
rows are unit vectors about the labelled mean, which suit nearest means better than features scaled
to [0, 1]; t is estimated from the labelled rows of each task, so that the learned weights transfer
between encoders; and a guard drops the unlabelled rows where they look harmful. With uniform class
priors, or features that do not cluster about class means, EM with any weights may be worse than the
nearest class mean; and weights learned on tasks of a few classes need not transfer to others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ilk.core.contracts import MethodTags
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.protocols.step import Step
from ilk.transduction.gaussian_em import MIN_PRIOR, CentredCosine, UnitRows, run_gaussian_em
from ilk.transduction.guard import fit_guarded

DEFAULT_WEIGHTS_PATH = Path(__file__).parents[1] / "transduction" / "unem_weights.json"
DEFAULT_WEIGHTS = json.loads(DEFAULT_WEIGHTS_PATH.read_text(encoding="utf-8"))
BATCH_TASKS = 15


@dataclass(frozen=True, eq=False)
class UnrolledEM(CentredCosine):
    """Class means after the last layer, with the log class priors of unlabelled rows."""

    kind: ClassVar[str] = "unrolled_em"


@dataclass(frozen=True)
class UNEM(MethodTags):
    """Unrolled generalized EM. `fit_unem` learns other weights than the default ones.

    Attributes:
        balance: Weight of the log class priors in each layer, >= 0: 1 is maximum likelihood, more
            prefers fewer classes.
        inverse_temperature: Inverse temperature of the memberships in each layer, as a multiple s
            of the estimated one, > 0; as many as `balance`.
        guard: Use the unlabelled rows only if they improve accuracy on hidden labelled rows.
    """

    uses_unlabelled = True
    supports_weights = True

    balance: tuple[float, ...] = tuple(DEFAULT_WEIGHTS["balance"])
    inverse_temperature: tuple[float, ...] = tuple(DEFAULT_WEIGHTS["inverse_temperature"])
    guard: bool = True

    def __post_init__(self) -> None:
        if len(self.balance) != len(self.inverse_temperature) or not self.balance:
            raise ValueError(
                f"balance has {len(self.balance)} entries and inverse_temperature "
                f"{len(self.inverse_temperature)}; give one of each per layer, at least one"
            )
        if not all(0 <= b < np.inf for b in self.balance):
            raise ValueError(f"balance is {self.balance}; each must be at least 0")
        if not all(0 < s < np.inf for s in self.inverse_temperature):
            raise ValueError(
                f"inverse_temperature is {self.inverse_temperature}; each must be above 0"
            )

    def fit(self, data: Data) -> UnrolledEM:
        return fit_guarded(data, self._fit, self.guard)

    def _fit(self, data: Data) -> UnrolledEM:
        sphere = UnitRows.from_data(data, self)
        t = sphere.fit_inverse_temperature()
        means, v = run_gaussian_em(sphere, t, self.balance[:-1], self.inverse_temperature[:-1])
        if len(sphere.unlabelled):
            t, v = t * self.inverse_temperature[-1], v * self.balance[-1]
        return UnrolledEM(*sphere.make_parameters(t, means, v))


def fit_unem(
    tasks: Sequence[Step], start: UNEM | None = None, *, epochs: int = 40, seed: int = 0
) -> UNEM:
    """Learn the hyperparameters of each layer by minimizing cross-entropy on `tasks`.

    Adam with learning rate 0.1, halved after half the epochs, and 15 tasks per batch, all with the
    same number of classes. The shared training loop is for networks that read batches of rows; here
    an example is a whole task and the parameters are a few scalars, so this function has its own
    loop.

    Args:
        tasks: Each has its test rows, without labels, at the end of `train` and in the same order,
            as `protocols.episodes` makes them, with classes other than those of later use.
        start: Initial hyperparameters and number of layers; by default those of `UNEM()`.
        epochs: Passes over the tasks, >= 1.
        seed: Seed of the order of tasks.

    Raises:
        InputError: If there is no task, or the unlabelled rows of one are not its test rows.
    """
    import torch
    from torch.nn.functional import cross_entropy, softplus

    initial = UNEM() if start is None else start
    stacks = _group_tasks(tasks, initial)
    raw = torch.tensor([initial.balance, initial.inverse_temperature]).clamp(min=1e-3)
    raw = (raw + torch.log(-torch.expm1(-raw))).requires_grad_()  # inverse of softplus
    adam = torch.optim.Adam([raw], lr=0.1)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        adam.param_groups[0]["lr"] = 0.1 if 2 * epoch < epochs else 0.05
        for task_batch in _draw_batches(stacks, rng):
            scores = run_unrolled_em(task_batch, *softplus(raw))
            is_query = task_batch["y"] >= 0
            loss = cross_entropy(scores[is_query], task_batch["y"][is_query])
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    balance, inverse_temperature = softplus(raw.detach()).tolist()
    return replace(initial, balance=tuple(balance), inverse_temperature=tuple(inverse_temperature))


def run_unrolled_em(task_batch: dict[str, Any], balance: Any, inverse_temperature: Any) -> Any:
    """Return differentiable scores `[b, m, k]` of the last layer for a batch of tasks.

    Args:
        task_batch: Tensors of `b` tasks, as `_stack_tasks` makes them.
        balance: Weight of the log class priors in each layer, `[layers]`.
        inverse_temperature: Factor of the estimated inverse temperature in each layer, `[layers]`.
    """
    import torch

    x, t, counts = task_batch["x"], task_batch["t"][:, None, None], task_batch["counts"]
    weight = task_batch["weight"][..., None]  # 0 for the padding of shorter tasks
    rows = weight.sum(1)
    means, v = task_batch["sums"] / counts[..., None], torch.zeros_like(counts)
    for layer in range(len(balance)):
        similarity = x @ means.mT - 0.5 * (means**2).sum(-1)[:, None]
        scores = inverse_temperature[layer] * t * similarity + balance[layer] * v[:, None]
        u = torch.softmax(scores, -1) * weight
        v = torch.log((u.sum(1) / rows).clamp(min=MIN_PRIOR))
        means = (task_batch["sums"] + u.mT @ x) / (counts + u.sum(1))[..., None]
    return scores


def _group_tasks(tasks: Sequence[Step], method: UNEM) -> list[dict[str, Any]]:
    """Return the tensors of the tasks of each number of classes."""
    if not tasks:
        raise InputError("there is no task to learn from; make some with protocols.episodes")
    counts = sorted({task.train.k for task in tasks})
    return [_stack_tasks([task for task in tasks if task.train.k == k], method) for k in counts]


def _draw_batches(
    stacks: Sequence[dict[str, Any]], rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Yield all tasks once, in batches of tasks with as many classes, in random order."""
    batches = []
    for stack in stacks:
        order = rng.permutation(len(stack["t"]))
        starts = range(0, len(order), BATCH_TASKS)
        batches += [(stack, order[start : start + BATCH_TASKS]) for start in starts]
    for index in rng.permutation(len(batches)):
        stack, rows = batches[index]
        yield {name: value[rows] for name, value in stack.items()}


def _stack_tasks(tasks: Sequence[Step], method: UNEM) -> dict[str, Any]:
    """Return unlabelled rows with their classes, and labelled sums and counts, of each task."""
    import torch

    spheres = [UnitRows.from_data(task.train, method) for task in tasks]
    for index, (task, sphere) in enumerate(zip(tasks, spheres, strict=True)):
        if not 0 < len(sphere.unlabelled) == len(task.test) or not sphere.present.all():
            raise InputError(
                f"task {index} has {len(sphere.unlabelled)} unlabelled rows, {len(task.test)} test "
                f"rows and labels for {sphere.present.sum()} of {task.train.k} classes; the first "
                "two must be the same rows, and every class needs a label"
            )
    reduced = [sphere.project_to_span()[0] for sphere in spheres]
    shape = (
        len(tasks),
        max(len(s.unlabelled) for s in reduced),
        max(s.unlabelled.shape[1] for s in reduced),
    )
    tensors = {
        "x": torch.zeros(shape),
        "y": torch.full(shape[:2], -1),
        "weight": torch.zeros(shape[:2]),
        "t": torch.tensor([sphere.fit_inverse_temperature() for sphere in spheres]),
        "sums": torch.zeros(len(tasks), tasks[0].train.k, shape[2]),
        "counts": torch.tensor(np.stack([s.counts for s in reduced]), dtype=torch.float32),
    }
    for i, s in enumerate(reduced):
        n, r = s.unlabelled.shape
        tensors["x"][i, :n, :r] = torch.from_numpy(s.unlabelled)
        tensors["sums"][i, :, :r] = torch.from_numpy(s.class_sums)
        weight = np.ones(n) if s.unlabelled_weight is None else s.unlabelled_weight
        tensors["weight"][i, :n] = torch.from_numpy(weight)
        tensors["y"][i, :n] = torch.from_numpy(np.array(tasks[i].test.y))
    return tensors
