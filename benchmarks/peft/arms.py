"""The ways to tune a tiny vision transformer that are compared, and how one of them is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.tiny_vit import Images
from ilk.architectures.tiny_vit import TinyViT
from ilk.peft import parse_wrapper
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.optimizers import ParameterGroup
from ilk.training.recipe import Recipe
from ilk.training.schedules import Schedule
from ilk.training.trainer import train

STEPS, BATCH_SIZE = 80, 32
SMALL, MIDDLE, LARGE = (1e-3, 3e-3, 1e-2), (3e-3, 1e-2, 3e-2), (3e-2, 1e-1, 3e-1)


@dataclass(frozen=True)
class Arm:
    """A way to tune.

    Attributes:
        name: Its name in the tables.
        wrapper: A wrapper as in `ilk finetune --peft`, or "".
        trains: Names of pretrained parts that train as well.
        holds: Names of the wrapper's parameters that do not.
        rates: Learning rates of AdamW to choose from, in rising order.
    """

    name: str
    wrapper: str = ""
    trains: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    rates: tuple[float, ...] = MIDDLE

    @property
    def trains_more_than_the_head(self) -> bool:
        """Whether anything but the head trains."""
        return bool(self.trains or (self.wrapper and not self.holds))

    def prepare(self, pretrained: TinyViT, classes: int, seed: int) -> TinyViT:
        """Return `pretrained`, changed in place, with what trains and a new head."""
        if self.wrapper:
            parse_wrapper(self.wrapper).apply(pretrained)
        else:
            pretrained.requires_grad_(False)
        for name, parameter in pretrained.named_parameters():
            if name.startswith(self.trains):
                parameter.requires_grad_(True)
            if self.holds and name.endswith(self.holds):
                parameter.requires_grad_(False)
        pretrained.replace_head(classes, seed)
        return pretrained


FULL, HEAD, LAST = "full", "head", "last block"
LORA, LORA_1, LORA_ATTENTION = "LoRA, rank 4", "LoRA, rank 1", "LoRA at attention"
ADAPTER, PARALLEL, PREFIX, MAM = "adapter", "parallel adapter", "prefix", "MAM"
PARALLEL_ATTENTION = "parallel adapter at attention"
BITFIT, IA3, IA3_OUTPUTS = "BitFit", "IA3", "IA3 at all outputs"
VECTORS = (BITFIT, IA3, IA3_OUTPUTS)
SVFIT, BOTTOM, RANDOM = "SVFit", "SVFit, smallest values", "SVFit, random bases"
SHERL, SHERL_PLAIN, SHERL_LAST = "SHERL", "SHERL without R", "SHERL and last block"
MEAN, SUM, SUM_LAST = "mean of blocks", "sum of blocks", "sum of blocks and last block"
LAST_PARTS = ("blocks.3", "norm")
LATE_PARTS = ("blocks.1", "norm")  # where the early blocks are one module

ARMS = (
    Arm(HEAD),
    Arm(FULL, trains=("",), rates=SMALL),
    Arm(LAST, trains=LAST_PARTS),
    Arm(LORA, "LoRA(rank=4, alpha=8)"),
    Arm(LORA_1, "LoRA(rank=1, alpha=2)"),
    Arm(LORA_ATTENTION, "LoRA(rank=3, alpha=6, layers='attention')"),
    Arm(ADAPTER, "Adapter(rank=8)"),
    Arm(PARALLEL, "ParallelAdapter(rank=8)"),
    Arm(PARALLEL_ATTENTION, "ParallelAdapter(rank=8, layers='attention')"),
    Arm(PREFIX, "Prefix(length=8)", rates=(1e-2, 3e-2, 1e-1)),
    Arm(MAM, "MAM(length=4, rank=4)"),
    Arm(BITFIT, "BitFit"),
    Arm(IA3, "IA3", rates=LARGE),
    Arm(IA3_OUTPUTS, "IA3(positions='outputs')", rates=LARGE),
    Arm(SVFIT, "SVFit(rank=48)", rates=LARGE),
    Arm(BOTTOM, "SVFit(rank=48, bases='bottom')", rates=LARGE),
    Arm(RANDOM, "SVFit(rank=48, bases='random')", rates=LARGE),
    Arm(SHERL, "SHERL"),
    Arm(SHERL_LAST, "SHERL", trains=LATE_PARTS),
    Arm(MEAN, "LayerSum(start=0.0)", holds=("weights", "gamma")),
    Arm(SUM, "LayerSum", rates=LARGE),
    Arm(SUM_LAST, "LayerSum", trains=LATE_PARTS),
)

DEEP_ARMS = (
    Arm(HEAD),
    Arm(LORA, "LoRA(rank=4, alpha=8)"),
    Arm(SHERL, "SHERL"),
    Arm(SHERL_PLAIN, "SHERL(anti_redundancy=False)"),
    Arm(SUM, "LayerSum", rates=LARGE),
)


@dataclass(frozen=True)
class HeadAdamW:
    """AdamW without weight decay; the head has a learning rate of its own.

    Attributes:
        head_lr: Learning rate of the parameters called `head`.
    """

    head_lr: float

    def build(
        self, groups: Sequence[ParameterGroup], lr: float, weight_decay: float, schedule: Schedule
    ) -> torch.optim.Optimizer:
        """Return the optimizer over one group; see `OptimizerConfig`."""
        (group,) = groups
        named = [(n, p) for n, p in group.module.named_parameters() if p.requires_grad]
        parts = [
            {
                "params": [p for n, p in named if n.startswith("head.") == is_head],
                **group.describe(rate, 0.0, schedule),
            }
            for is_head, rate in ((False, lr), (True, self.head_lr))
        ]
        return torch.optim.AdamW([part for part in parts if part["params"]], lr)


def tune(
    network: TinyViT, images: Images, lr: float, head_lr: float, seed: int, steps: int
) -> TinyViT:
    """Return `network` trained on images, in evaluation mode."""
    recipe = Recipe(
        steps, BATCH_SIZE, lr, max(1, steps // 10), seed=seed, optimizer=HeadAdamW(head_lr)
    )
    return train(network, images.to_batch(), CrossEntropy(), recipe)


def count_trained(network: nn.Module) -> int:
    """Return the number of parameters that train, without the head."""
    return sum(
        p.numel()
        for name, p in network.named_parameters()
        if p.requires_grad and not name.startswith("head.")
    )


def make_step(network: nn.Module, images: Images) -> Callable[[], None]:
    """Return a function that computes the loss and the gradients of a batch."""

    def step() -> None:
        network.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(images.x), images.y))

    return step


def measure_saved_bytes(network: nn.Module, images: Images) -> int:
    """Return the bytes that PyTorch keeps for the backward pass of a batch, without parameters."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    own |= {b.untyped_storage().data_ptr() for b in network.buffers()}
    own.add(images.x.untyped_storage().data_ptr())
    kept: dict[int, int] = {}
    held: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # so that no other tensor gets its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(network(images.x), images.y)
    torch.autograd.backward(loss)
    return sum(kept.values())


def measure_step_times(networks: dict[str, TinyViT], images: Images, repeats: int) -> list[float]:
    """Return the median seconds of a step of each network; they take turns, on one thread."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    steps = [make_step(network.train(), images) for network in networks.values()]
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats):
        for step, taken in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
    torch.set_num_threads(n_threads)
    return [float(np.median(taken)) for taken in times]
