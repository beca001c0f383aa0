"""The supervised twin of a denoiser: the same trunk, the same budget, trained to name the class.

What a diffusion classifier owes to its objective shows only beside a network of the same layers
that saw the same images as often. The twin is the denoiser's own network, at its lowest noise level
with no noise added and no class told. Only the last layer differs: logits at each place instead of
colours, and the twin's answer is their mean over places. As that layer is linear, this is a linear
head on the global average of the last map (Min Lin and others, 2014, Network In Network,
arXiv 1312.4400, sec. 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.contract import unit
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.pretrain import Plan, planned
from ilk.errors import InputError, NoLabels
from ilk.progress import Progress, silent
from ilk.training.loop import Batch, Machine, Watch, train, tweaked


class Naming(nn.Module):
    """The last layer: logits at each place, the same for all pixels of its patch.

    Args:
        width: Channels of the last map.
        classes: k.
        patch: Pixels of an image that a place covers, each way.
        axis: Where the channels are: 1 of `[b, c, h, w]`, -1 of tokens `[b, n, c]`.
    """

    def __init__(self, width: int, classes: int, patch: int, axis: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)
        self.patch, self.axis = patch, axis

    def forward(self, x: Tensor) -> Tensor:
        logits = self.linear(x.movedim(self.axis, -1)).movedim(-1, self.axis)
        return cast(Tensor, logits.repeat_interleave(self.patch**2, self.axis))


class Twin(nn.Module):
    """A denoiser's network as a classifier; takes over `denoiser`, weights and all.

    Attributes:
        classes: k names.
        shape: `(channels, height, width)` of what it takes.

    Raises:
        InputError: The denoiser knows fewer than 2 classes.
    """

    level: Tensor

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        if len(denoiser.classes) < 2:
            raise InputError(
                f"a twin tells classes apart and got {len(denoiser.classes)}; name at least 2"
            )
        self.classes, self.shape = denoiser.classes, denoiser.shape
        self.spread = denoiser.spread
        self.register_buffer("level", torch.tensor(denoiser.sigmas[0]))
        self.trunk = denoiser.network
        last, patch, k = self.trunk.exit, cast(int, self.trunk.patch), len(self.classes)
        if isinstance(last, nn.Conv2d):
            self.trunk.exit = Naming(last.in_channels, k, patch, axis=1)
        else:
            self.trunk.exit = Naming(cast(nn.Linear, last).in_features, k, patch, axis=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, k]` float32 of images `[n, c, h, w]` in [-1, 1]."""
        return self.map(x).mean((2, 3))

    def map(self, x: Tensor) -> Tensor:
        """Logits of each pixel, `[n, k, h, w]` float32: where the network sees each class."""
        n = len(x)
        scaled = x / (self.level**2 + self.spread**2).sqrt()  # as the denoiser scales its input
        unknown = torch.full((n,), len(self.classes), device=x.device)
        return cast(Tensor, self.trunk(scaled, self.level.log().expand(n), unknown)).float()

    @torch.no_grad()
    def logits(self, x: Tensor, batch: int = 256) -> Tensor:
        """Logits `[n, k]` float32 of 8-bit images `[n, c, h, w]`; each depends on itself alone.

        Raises:
            InputError: The images are of another kind or size.
        """
        if x.dtype != torch.uint8 or tuple(x.shape[1:]) != self.shape:
            takes = " x ".join(map(str, self.shape))
            raise InputError(
                f"images are {x.dtype} {tuple(x.shape)}; the twin takes uint8, n x {takes}"
            )
        self.eval()
        out = torch.empty(len(x), len(self.classes))
        for at in torch.split(torch.arange(len(x)), batch):
            if len(at):
                out[at] = self(unit(x[at].to(self.level.device))).cpu()
        return out


@dataclass(frozen=True)
class CrossEntropy:
    """The objective: `mean -log softmax(logits)[y]`.

    Attributes:
        smoothing: Share of each label that is spread over all classes, in [0, 1) (Christian Szegedy
            and others, 2016, Rethinking the Inception Architecture, arXiv 1512.00567, sec. 7).
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise InputError(f"a label cannot be smoothed by {self.smoothing}; give 0 to below 1")

    def __call__(self, network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        return functional.cross_entropy(network(batch.x), batch.y, label_smoothing=self.smoothing)


def fit_twin(
    data: Batch,
    classes: tuple[str, ...],
    plan: Plan,
    machine: Machine = Machine(),  # noqa: B008  (frozen)
    progress: Progress = silent,
    smoothing: float = 0.0,
) -> Twin:
    """Train the twin of the denoiser that `pretrain` would make of this plan, on labelled rows.

    It gets the plan's updates, batches, learning rates, averaging, flips and shifts; what is about
    noise and hidden labels in the plan does not concern it.

    Args:
        data: 8-bit images `[n, c, h, w]`, and class indices; rows of -1 are left out.
        classes: k names, k >= 2.
        plan: What the denoiser is trained by.
        machine: Device and precision.
        progress: Told of every update.
        smoothing: Share of a label spread over all classes, in [0, 1).

    Raises:
        NoLabels: No row is labelled.
        InputError: The images cannot be learned from, or fewer than 2 classes are named.
        Diverged: Training left the finite numbers.
    """
    build = planned(data, classes, plan)  # of all rows, so that the spread is the denoiser's
    known = data.y >= 0
    if not bool(known.any()):
        raise NoLabels("a twin learns from labels and there are none; label a few images")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.recipe.seed)
        twin = Twin(build.make())
    objective = tweaked(CrossEntropy(smoothing), *plan.tweaks())
    watch = Watch(progress=progress)
    rows = Batch(data.x[known], data.y[known])
    average = train(twin, rows, objective, plan.recipe, machine, watch)
    assert isinstance(average, Twin)
    return average.cpu()
