"""The supervised baseline of a denoiser: the same backbone and budget, trained to classify.

Comparing a diffusion classifier with a network of the same layers, trained on the same images for
the same number of updates, isolates the effect of the objective. The baseline is the denoiser's own
network at its lowest noise level, without noise and with the null class. Only the last layer
differs: logits at each position instead of channels, averaged over positions. As that layer is
linear, this is a linear head on the global average of the last map (Min Lin and others, 2014,
Network In Network, arXiv 1312.4400, sec. 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError, NoLabels
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.protocol import normalize_images
from ilk.diffusion.pretraining.pretrain import PretrainConfig, make_spec
from ilk.training.trainer import Batch, CheckpointConfig, DeviceConfig, augment_objective, train


class PatchClassifier(nn.Module):
    """The last layer: logits at each position, repeated for all pixels of its patch.

    Args:
        width: Channels of the last map.
        classes: Number of classes k.
        patch: Patch size in pixels.
        axis: Channel axis: 1 of `[b, c, h, w]`, -1 of tokens `[b, n, c]`.
    """

    def __init__(self, width: int, classes: int, patch: int, axis: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)
        self.patch, self.axis = patch, axis

    def forward(self, x: Tensor) -> Tensor:
        logits = self.linear(x.movedim(self.axis, -1)).movedim(-1, self.axis)
        return cast(Tensor, logits.repeat_interleave(self.patch**2, self.axis))


class SupervisedBaseline(nn.Module):
    """The network of a denoiser as a classifier; it takes over the weights of `denoiser`.

    Attributes:
        classes: k names.
        shape: `(channels, height, width)` of its input.

    Raises:
        InputError: The denoiser has fewer than 2 classes.
    """

    level: Tensor

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        if len(denoiser.classes) < 2:
            raise InputError(f"a baseline needs at least 2 classes and got {len(denoiser.classes)}")
        self.classes, self.shape = denoiser.classes, denoiser.shape
        self.sigma_data = denoiser.sigma_data
        self.register_buffer("level", torch.tensor(denoiser.sigmas[0]))
        self.backbone = denoiser.network
        output_layer, patch, k = (
            self.backbone.proj_out,
            cast(int, self.backbone.patch),
            len(self.classes),
        )
        if isinstance(output_layer, nn.Conv2d):
            self.backbone.proj_out = PatchClassifier(output_layer.in_channels, k, patch, axis=1)
        else:
            self.backbone.proj_out = PatchClassifier(
                cast(nn.Linear, output_layer).in_features, k, patch, axis=-1
            )

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, k]` float32 of images `[n, c, h, w]` in [-1, 1]."""
        return self.compute_logit_map(x).mean((2, 3))

    def compute_logit_map(self, x: Tensor) -> Tensor:
        """Return the logits of each pixel, `[n, k, h, w]` float32."""
        n = len(x)
        scaled = x / (self.level**2 + self.sigma_data**2).sqrt()  # as the denoiser scales its input
        no_class = torch.full((n,), len(self.classes), device=x.device)
        return cast(Tensor, self.backbone(scaled, self.level.log().expand(n), no_class)).float()

    @torch.no_grad()
    def logits(self, x: Tensor, batch: int = 256) -> Tensor:
        """Return logits `[n, k]` float32 of 8-bit images `[n, c, h, w]`; each row depends on its
        image only.

        Raises:
            InputError: The images have another dtype or shape.
        """
        if x.dtype != torch.uint8 or tuple(x.shape[1:]) != self.shape:
            expected = " x ".join(map(str, self.shape))
            raise InputError(
                f"images are {x.dtype} {tuple(x.shape)}; the baseline takes uint8, n x {expected}"
            )
        self.eval()
        out = torch.empty(len(x), len(self.classes))
        for rows in torch.split(torch.arange(len(x)), batch):
            if len(rows):
                out[rows] = self(normalize_images(x[rows].to(self.level.device))).cpu()
        return out


@dataclass(frozen=True)
class CrossEntropy:
    """The loss `mean -log softmax(logits)[y]`.

    Attributes:
        smoothing: Label smoothing, in [0, 1) (Christian Szegedy and others, 2016, Rethinking the
            Inception Architecture, arXiv 1512.00567, sec. 7).

    Raises:
        InputError: `smoothing` is out of range.
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise InputError(f"smoothing {self.smoothing} must be at least 0 and below 1")

    def __call__(self, network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        return functional.cross_entropy(network(batch.x), batch.y, label_smoothing=self.smoothing)


def fit_baseline(
    data: Batch,
    classes: tuple[str, ...],
    config: PretrainConfig,
    machine: DeviceConfig = DeviceConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
    smoothing: float = 0.0,
) -> SupervisedBaseline:
    """Train the supervised baseline of the denoiser that `pretrain` would train with this
    configuration.

    It has the same updates, batches, learning rates, weight averaging, flips and shifts; noise
    levels and label dropout do not apply.

    Args:
        data: 8-bit images `[n, c, h, w]` and class indices; rows of -1 are ignored.
        classes: k names, k >= 2.
        config: Configuration of the denoiser.
        machine: Device and precision.
        progress: Reports updates.
        smoothing: Label smoothing, in [0, 1).

    Raises:
        NoLabels: No row is labelled.
        InputError: The images are unsuitable, or there are fewer than 2 classes.
        DivergenceError: Training diverged.
    """
    spec = make_spec(data, classes, config)  # of all rows, for the same sigma_data
    is_labelled = data.y >= 0
    if not bool(is_labelled.any()):
        raise NoLabels("a baseline needs labels and there are none; label a few images")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.recipe.seed)
        baseline = SupervisedBaseline(spec.build())
    objective = augment_objective(CrossEntropy(smoothing), *config.make_augmentations())
    watch = CheckpointConfig(progress=progress)
    rows = Batch(data.x[is_labelled], data.y[is_labelled])
    averaged = train(baseline, rows, objective, config.recipe, machine, watch)
    assert isinstance(averaged, SupervisedBaseline)
    return averaged.cpu()
