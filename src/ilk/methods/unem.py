"""Few labels and many rows without: ten rounds of EM whose weights are learnt, each round its own.

Long Zhou, Fereshteh Shakeri, Aymen Sadraoui, Mounir Kaaniche, Jean-Christophe Pesquet, Ismail Ben
Ayed, 2025, UNEM: UNrolled Generalized EM for Transductive Few-Shot Learning, arXiv 2412.16739, with
Gaussians of one spherical covariance 1 / t (their model for networks without text).

    layer l   u_nk = softmax_k(temper_l t (x_n . w_k - |w_k|^2 / 2) + balance_l v_k)
              w_k  = (sum of labelled rows + sum_n u_nk x_n) / (their count + sum_n u_nk)
              v_k  = log mean_n u_nk

`learned` unrolls the layers over tasks of other classes and moves balance and temper, each kept
positive as softplus of a free number, down the cross-entropy of the last layer's u. We depart in
three things: rows are directions about the labelled mean, which serve nearest means better than
features scaled to [0, 1]; t is estimated from the labelled rows of each task, so that what is
learnt carries over from one encoder to another; and a guard answers without the unlabelled rows
where they look harmful. Where classes are as likely as each other, or features so poor that rows
do not gather about class means, EM of any weights may lose to the nearest class mean; and what is
learnt on the tasks of a handful of classes need not carry over to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ilk.data import Data
from ilk.errors import InputError
from ilk.models import Facts
from ilk.protocols.step import Step
from ilk.unlabelled.guarded import guarded
from ilk.unlabelled.transduction import RARE, Directions, Sphere, gaussian_em

LAYERS = 10


@dataclass(frozen=True, eq=False)
class Unrolled(Directions):
    """Class means after the last layer, with the log shares of rows without a label."""


@dataclass(frozen=True)
class UNEM(Facts):
    """Unrolled generalised EM. The defaults are maximum likelihood; `learned` finds better.

    Attributes:
        balance: Weight of the log shares in each layer, >= 0: 1 is a mixture's own, more prefers
            fewer classes.
        temper: Sharpness of memberships in each layer, as a multiple of the estimated one, > 0; as
            many as `balance`.
        guard: Answer without the unlabelled rows where hidden labelled rows say they do harm.
    """

    uses_unlabelled = True

    balance: tuple[float, ...] = (1.0,) * LAYERS
    temper: tuple[float, ...] = (1.0,) * LAYERS
    guard: bool = True

    def __post_init__(self) -> None:
        if len(self.balance) != len(self.temper) or not self.balance:
            raise ValueError(
                f"{len(self.balance)} balances and {len(self.temper)} tempers; "
                "each layer has one of both, and there is at least one"
            )
        if not all(0 <= b < np.inf for b in self.balance):
            raise ValueError(f"balance is {self.balance}; each must be at least 0")
        if not all(0 < s < np.inf for s in self.temper):
            raise ValueError(f"temper is {self.temper}; each must be above 0")

    def fit(self, data: Data) -> Unrolled:
        return guarded(data, self._fit) if self.guard else self._fit(data)

    def _fit(self, data: Data) -> Unrolled:
        sphere = Sphere.of(data, self)
        t = sphere.sharpness()
        means, v = gaussian_em(sphere, t, self.balance[:-1], self.temper[:-1])
        if len(sphere.free):
            t, v = t * self.temper[-1], v * self.balance[-1]
        return Unrolled(*sphere.rule(t, means, v))


def learned(
    tasks: Sequence[Step], start: UNEM | None = None, *, epochs: int = 40, seed: int = 0
) -> UNEM:
    """`start` with the weights that answer `tasks` best, by cross-entropy.

    Adam at 0.1, halved after half the epochs, 15 tasks an update. The one training loop is for
    networks that read batches of rows; here an example is a whole task and what is learnt are a few
    scalars, so the loop is the dozen lines below.

    Args:
        tasks: Each with its test rows in `train` without their labels, last and in the same order,
            as `protocols.episodes` cuts them; of classes other than those to be answered for. All
            have the same number of classes.
        start: Where to start, and the number of layers.
        epochs: How often each task is seen, >= 1.
        seed: Draws the order of tasks.

    Raises:
        InputError: There is no task, or one has no rows without a label that answer to its test.
    """
    import torch
    from torch.nn.functional import cross_entropy, softplus

    first = UNEM() if start is None else start
    parts = _stacked(tasks, first)
    raw = torch.tensor([first.balance, first.temper]).clamp(min=1e-3)
    raw = (raw + torch.log(-torch.expm1(-raw))).requires_grad_()  # softplus undone
    adam = torch.optim.Adam([raw], lr=0.1)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        adam.param_groups[0]["lr"] = 0.1 if 2 * epoch < epochs else 0.05
        order = rng.permutation(len(tasks))
        for at in range(0, len(tasks), 15):
            part = {name: value[order[at : at + 15]] for name, value in parts.items()}
            scores = unrolled(part, *softplus(raw))
            asked = part["y"] >= 0
            loss = cross_entropy(scores[asked], part["y"][asked])
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    balance, temper = softplus(raw.detach()).tolist()
    return replace(first, balance=tuple(balance), temper=tuple(temper))


def unrolled(part: dict[str, Any], balance: Any, temper: Any) -> Any:
    """Scores `[b, m, k]` of the last layer for tasks side by side, to be differentiated."""
    import torch

    x, t, counts = part["x"], part["t"][:, None, None], part["counts"]
    there = (part["y"] >= 0)[..., None]  # tasks shorter than the longest are filled up
    rows = there.sum(1)
    means, v = part["sums"] / counts[..., None], torch.zeros_like(counts)
    for layer in range(len(balance)):
        near = x @ means.mT - 0.5 * (means**2).sum(-1)[:, None]
        scores = temper[layer] * t * near + balance[layer] * v[:, None]
        u = torch.softmax(scores, -1) * there
        v = torch.log((u.sum(1) / rows).clamp(min=RARE))
        means = (part["sums"] + u.mT @ x) / (counts + u.sum(1))[..., None]
    return scores


def _stacked(tasks: Sequence[Step], who: UNEM) -> dict[str, Any]:
    """Rows without a label, their classes, and sums and counts of the labelled, task by task."""
    import torch

    if not tasks:
        raise InputError("there is no task to learn from; protocols.episodes makes some")
    spheres = [Sphere.of(task.train, who) for task in tasks]
    if len(ways := {task.train.k for task in tasks}) > 1:
        raise InputError(f"tasks have {sorted(ways)} classes; give all the same number")
    for at, (task, sphere) in enumerate(zip(tasks, spheres, strict=True)):
        if not 0 < len(sphere.free) == len(task.test) or not sphere.seen.all():
            raise InputError(
                f"task {at} has {len(sphere.free)} rows without a label, {len(task.test)} to "
                f"answer for and {sphere.seen.sum()} of {task.train.k} classes with a label; "
                "the first two must be the same rows, and every class needs one"
            )
    small = [sphere.reduced()[0] for sphere in spheres]
    shape = len(tasks), max(len(s.free) for s in small), max(s.free.shape[1] for s in small)
    made = {
        "x": torch.zeros(shape),
        "y": torch.full(shape[:2], -1),
        "t": torch.tensor([sphere.sharpness() for sphere in spheres]),
        "sums": torch.zeros(len(tasks), tasks[0].train.k, shape[2]),
        "counts": torch.tensor(np.stack([s.counts for s in small]), dtype=torch.float32),
    }
    for i, s in enumerate(small):
        n, r = s.free.shape
        made["x"][i, :n, :r] = torch.from_numpy(s.free)
        made["sums"][i, :, :r] = torch.from_numpy(s.sums)
        made["y"][i, :n] = torch.from_numpy(np.array(tasks[i].test.y))
    return made
