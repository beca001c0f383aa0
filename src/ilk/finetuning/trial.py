"""One variant of a network, tuned on a training part and stopped by a validation part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.fingerprint import compute_key
from ilk.core.linear_models import Linear
from ilk.core.progress import Progress, silent_progress
from ilk.finetuning.config import FinetuneConfig, Variant
from ilk.finetuning.splitting import SplitNetwork
from ilk.finetuning.training_rows import pick_view
from ilk.finetuning.tunable import Tunable
from ilk.hub.preprocessing import Preprocess
from ilk.training.augmentations import Flip, Shift
from ilk.training.objective import Augmentation, augment_objective, unwrap
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.optimizers import AdamW
from ilk.training.recipe import CheckpointConfig, DeviceConfig, Recipe
from ilk.training.sources import Source
from ilk.training.trainer import train
from ilk.training.validation import Validation, ValidationResult

if TYPE_CHECKING:
    from torch import Tensor

N_ROWS = 64  # rows at a time that are only read
N_MEASURES = 4  # on the validation part, in a run
N_SAMPLED = 1000  # training images that a head is fitted to for a measure


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a division of the images.

    Attributes:
        rows: The rows; views of an image, if any, lie on the second axis, the image itself first.
        y: Their classes, `[n]`.
        has_views: Whether there are views.
    """

    rows: Source
    y: Labels
    has_views: bool

    def iterate(self, device: str) -> Iterator[Tensor]:
        """Yield rows `[b, ...]` in order, the image itself of each."""
        for positions in torch.split(torch.arange(len(self.y)), N_ROWS):
            x = self.rows.take(positions, device).x
            yield x[:, 0] if self.has_views else x


@dataclass(frozen=True, eq=False)
class Trial:
    """A tuned variant.

    Attributes:
        variant: What was tuned.
        network: The network at its best measure.
        trained: Names of the parameters that were trained, in the network inside it.
        name: What was tuned, in words.
        n_trained: Number of parameters that were trained.
        seconds: Time that training took.
        n_bytes: Memory that training took, besides the network and its input.
        validation: How the run ended.
    """

    variant: Variant
    network: Tunable
    trained: tuple[str, ...]
    name: str
    n_trained: int
    seconds: float
    n_bytes: int
    validation: ValidationResult


def run_trial(
    variant: Variant,
    split: SplitNetwork,
    head: Linear,
    preprocess: Preprocess,
    train_part: Part,
    validation_part: Part,
    measure: Callable[[NDArray[np.float32], NDArray[np.float32]], float],
    config: FinetuneConfig,
    folder: Path | None,
    run: Mapping[str, Any],
    device: DeviceConfig,
    progress: Progress = silent_progress,
) -> Trial:
    """Tune a variant; a run that was interrupted continues where it stopped.

    Args:
        variant: What is tuned.
        split: The network, divided for it.
        head: The head of the frozen features, where training starts.
        preprocess: Of the network.
        train_part: What is trained on.
        validation_part: What chooses the best state.
        measure: Returns how well a head fitted to the first `N_SAMPLED` training images answers the
            validation part, from the features `[n, d]` of both; higher is better.
        config: Settings.
        folder: Where the state of the run lies; None saves nothing.
        run: What the run depends on besides variant and settings.
        device: Where to train.
        progress: Reports each update.

    Raises:
        InputError: The state in the folder is that of another run.
        OutputError: The state cannot be written.
    """
    started_at = time.monotonic()
    is_pixels = split.frozen is None
    network = Tunable(split.late, head, preprocess if is_pixels else None)
    n_trained, named = network.count_trained(), network.late.network.named_parameters()
    trained = tuple(name for name, parameter in named if parameter.requires_grad)
    updates = config.count_updates(len(train_part.y))
    recipe = Recipe(
        updates,
        min(config.batch_size, len(train_part.y)),
        config.lr or variant.default_lr,
        min(20, updates // 5),
        0.0 if variant.wrapper else config.weight_decay,
        seed=config.seed,
        optimizer=AdamW(),
        layer_decay=config.layer_decay if not variant.wrapper else 1.0,
    )
    results: list[ValidationResult] = []
    interval = max(1, -(-updates // N_MEASURES))
    sampled = replace(train_part, y=train_part.y[:N_SAMPLED])
    validation = Validation(
        lambda current: measure(
            compute_features(unwrap(current, Tunable), sampled, device.device),
            compute_features(unwrap(current, Tunable), validation_part, device.device),
        ),
        interval,
        config.patience,
        on_finish=results.append,
    )
    key = compute_key({"variant": asdict(variant), "config": asdict(config), "run": dict(run)})
    path = None if folder is None else folder / f"{key[:16]}.safetensors"
    name = f"{variant.wrapper} in {split.describe()}" if variant.wrapper else split.describe()
    sample = train_part.rows.take(torch.arange(recipe.batch_size), "cpu").x
    n_bytes = measure_memory(network, sample[:, 0] if train_part.has_views else sample)
    objective = augment_objective(
        CrossEntropy(), *_list_augmentations(config, preprocess, train_part, is_pixels)
    )
    best = train(
        network,
        train_part.rows,
        objective,
        recipe,
        device,
        CheckpointConfig(path, interval, progress=_rename(progress, name)),
        validation,
    )
    best = best.to("cpu")
    return Trial(
        variant,
        best,
        trained,
        name,
        n_trained,
        time.monotonic() - started_at,
        n_bytes,
        results[0],
    )


def measure_memory(network: Tunable, x: Tensor) -> int:
    """Return the bytes that training on a batch `x [b, ...]` takes besides network and input.

    That are the gradients, the two moments of the optimizer, the average and the best state of what
    is trained, and what the forward pass keeps for the backward pass.
    """
    trained = sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)
    weights = {p.data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in weights and storage.data_ptr() != x.data_ptr():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        network(x[:2]).sum()
    return 5 * trained + sum(kept.values()) * len(x) // len(x[:2])


def _rename(progress: Progress, what: str) -> Progress:
    return lambda _what, total: progress(f"tuning {what}", total)


def _list_augmentations(
    config: FinetuneConfig, preprocess: Preprocess, part: Part, is_pixels: bool
) -> list[Augmentation]:
    if not is_pixels:
        return [pick_view]
    found: list[Augmentation] = [Flip()] if config.flip else []
    shift = round(config.shift * min(preprocess.size))
    return [*found, Shift(shift, "reflect")] if shift else found


def compute_features(network: Tunable, part: Part, device: str) -> NDArray[np.float32]:
    """Return features `[n, d]` of the rows of a part."""
    network.to(device)
    parts: list[Tensor] = []
    with torch.inference_mode():
        for x in part.iterate(device):
            parts.append(network.forward_features(x).float().cpu())
    return np.asarray(torch.cat(parts).numpy())
