"""Train T-TAME's attention maps for a classifier, on images without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.attention_maps import AttentionTap, TrainedMaps
from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError, Unavailable
from ilk.core.progress import Progress, silent_progress
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.views import ViewEncoder
from ilk.explain.answer import Answer
from ilk.explain.networks import open_network

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from ilk.architectures.attention_maps import ExplainedNetwork

EPOCHS, BATCH_SIZE = 8, 32  # the authors'
LR = 5e-3  # five times the authors', whose runs have hundreds of times as many updates
MIN_STEPS, MAX_STEPS = 100, 400
MIN_IMAGES = 8
WARMUP_PART = 0.3  # of the run
T = TypeVar("T")


def train_maps(
    classifier: Any,
    images: Sequence[T],
    decode: Callable[[T], Image.Image],
    *,
    scope: str = "random",
    steps: int | None = None,
    seed: int = 0,
    progress: Progress = silent_progress,
) -> Any:
    """Return a classifier with attention maps, trained on images; it answers as before.

    Args:
        classifier: A `Classifier`; the labels are its own answers.
        images: Images, in whatever form `decode` takes; 8 or more.
        decode: Returns an image in RGB; called in threads.
        scope: `random` or `diagonal`; see `ilk.training.objectives.masked_confidence`.
        steps: Updates of 32 images each; by default 8 passes over the images, 100 to 400.
        seed: Seed of the training.
        progress: Reports the updates.

    Raises:
        InputError: There are fewer than 8 images.
        Unavailable: The encoder has no network, or the classifier several labels per image.
    """
    if hasattr(classifier.model, "margins"):
        raise Unavailable(
            "attention maps are trained for one label per image; use --method occlusion or rise"
        )
    if len(images) < MIN_IMAGES:
        raise InputError(
            f"{len(images)} images are too few to train attention maps; give {MIN_IMAGES} or more, "
            "better a few hundred"
        )
    import torch

    from ilk.training.objectives.masked_confidence import MaskedConfidence
    from ilk.training.optimizers import AdamW
    from ilk.training.schedules import CosineDecay
    from ilk.training.sources import DecodedSource
    from ilk.training.trainer import CheckpointConfig, Recipe, train

    encoder = find_encoder(classifier.encoder)
    network = open_network(encoder)

    def prepare(image: T) -> NDArray[np.float32]:
        prepared = encoder.prepare(decode(image))[None]
        return np.asarray(encoder.preprocess.normalize(prepared)[0])

    first = torch.from_numpy(prepare(images[0])[None])
    explained, layers = _build_network(network, classifier, first, seed)
    if steps is None:
        steps = int(np.clip(EPOCHS * len(images) // BATCH_SIZE, MIN_STEPS, MAX_STEPS))
    recipe = Recipe(
        steps, min(BATCH_SIZE, len(images)), LR, seed=seed, optimizer=AdamW(),
        schedule=CosineDecay(round(WARMUP_PART * steps)),
    )  # fmt: skip
    source = DecodedSource(images, np.full(len(images), -1, np.int64), prepare)
    objective = MaskedConfidence(scope=scope)  # type: ignore[arg-type]
    trained = train(
        explained, source, objective, recipe, checkpointing=CheckpointConfig(progress=progress)
    )
    part = _to_part(trained.maps, layers, encoder.space.key, len(images))
    return replace(classifier, attention_maps=part)


def _build_network(
    network: Module, classifier: Any, first: Tensor, seed: int
) -> tuple[ExplainedNetwork, tuple[str, ...]]:
    """Return a classifier with attention maps that are not trained, and the layers they read.

    Args:
        network: Network of the encoder.
        classifier: The classifier.
        first: A normalized image, `[1, c, h, w]`, which shows what the layers give.
        seed: Seed of the maps.
    """
    import torch

    from ilk.architectures.attention_maps import AttentionMaps, ExplainedNetwork
    from ilk.explain.taps import HeadedNetwork, choose_layers

    layers = choose_layers(network, first)
    headed = HeadedNetwork(network, Answer(classifier, 0), layers)
    with torch.no_grad():
        channels = [tap.shape[1] for tap in headed.forward_taps(first)[1]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        maps = AttentionMaps(channels, len(classifier.classes))
    return ExplainedNetwork(headed, maps), layers


def find_encoder(encoder: Embeds) -> NetworkEncoder:
    """Return the encoder whose network the maps read: of several views, that of one.

    Raises:
        Unavailable: It has no network, or several.
    """
    if isinstance(encoder, ViewEncoder):
        return find_encoder(encoder.base)
    if isinstance(encoder, NetworkEncoder) and encoder.has_torch_network:
        return encoder
    raise Unavailable(
        f"t-tame needs the gradients of one network, and {encoder.name} has none, or several; use "
        "--method occlusion or rise"
    )


def _to_part(maps: Any, layers: Sequence[str], space: str, n_images: int) -> TrainedMaps:
    """Return trained `AttentionMaps` with their batch normalization folded in."""
    taps, start = [], 0
    fusion = maps.fuse.weight.detach().numpy()[:, :, 0, 0]
    for layer, conv, norm in zip(layers, maps.convs, maps.norms, strict=True):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = (scale[:, None] * conv.weight[:, :, 0, 0]).detach().numpy()
        bias = (scale * (conv.bias - norm.running_mean) + norm.bias).detach().numpy()
        end = start + len(bias)
        taps.append(AttentionTap(layer, weight, bias, np.array(fusion[:, start:end])))
        start = end
    return TrainedMaps(tuple(taps), maps.fuse.bias.detach().numpy(), space, n_images)
