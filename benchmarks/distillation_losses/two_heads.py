"""Two heads against one, for the losses of labels and of logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.claims import Claim, make_table
from benchmarks.distillation_losses.setting import Setting
from benchmarks.runner import summarize
from benchmarks.student_networks import ConvNet
from ilk.training.objective import Objective
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.objectives.dual_head import DualHead
from ilk.training.objectives.kd import KD

FILE = "training/objectives/dual_head.py"
LABELS, PROBABILITIES, LOGITS = "labels", "KD", "logits alone, one head"
ONE_HEAD, PLAIN, ALIGNED = "both, one head", "both, two heads", "both, two heads, aligned"

Loss = Callable[[Tensor], Objective]
ARMS: dict[str, Loss] = {
    LABELS: lambda teacher: CrossEntropy(),
    PROBABILITIES: lambda teacher: KD(teacher),
    LOGITS: lambda teacher: DualHead(teacher, label_weight=0.0, shared=True, aligned=False),
    ONE_HEAD: lambda teacher: DualHead(teacher, shared=True, aligned=False),
    PLAIN: lambda teacher: DualHead(teacher, aligned=False),
    ALIGNED: lambda teacher: DualHead(teacher),
}


def compare(setting: Setting) -> tuple[dict[str, Any], dict[int, ConvNet]]:
    """Return the table with cosines of gradients, and the student of labels of each seed."""
    scores: dict[str, list[float]] = {name: [] for name in ARMS}
    students: dict[int, ConvNet] = {}
    cosines: dict[str, list[float]] = {"shared layers": [], "head": []}
    for seed in setting.seeds:
        for name, make in ARMS.items():
            network = setting.fit(setting.make_student(seed), make(setting.teachers[0]), seed)
            scores[name].append(setting.score(network))
            if name == LABELS:
                students[seed] = network
            if name == ONE_HEAD:
                for part, cosine in compare_gradients(network, setting).items():
                    cosines[part].append(cosine)
    pairs = [
        *((ALIGNED, other) for other in (PROBABILITIES, LABELS, LOGITS, ONE_HEAD, PLAIN)),
        *((ONE_HEAD, other) for other in (LABELS, LOGITS)),
        (PLAIN, PROBABILITIES),
    ]
    claims = [Claim("dual-head-kd", FILE, ours, theirs) for ours, theirs in pairs]
    name = f"{setting.name}, {len(setting.train):,} pictures, one teacher"
    table = make_table(name, "test accuracy", scores, claims)
    found = {part: summarize(values) for part, values in cosines.items()}
    return {"table": table, "cosine of gradients after training in one head": found}, students


def compare_gradients(network: ConvNet, setting: Setting) -> dict[str, float]:
    """Return the cosine between the gradients of labels and of logits, in layers and head."""
    objective = DualHead(setting.teachers[0], shared=True)
    network.train().requires_grad_()
    batch = setting.train.take(torch.arange(0, len(setting.train), 7), "cpu")
    losses = objective.compute_losses(network, batch)
    cosines = {}
    for name, part in (("shared layers", network.body), ("head", network.fc)):
        first, second = (_flatten_gradient(loss, part) for loss in losses)
        cosines[name] = float(torch.cosine_similarity(first, second, dim=0))
    network.eval()
    return cosines


def _flatten_gradient(loss: Tensor, part: nn.Module) -> Tensor:
    gradients = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True)
    return torch.cat([g.flatten() for g in gradients])
