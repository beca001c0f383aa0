"""T-TAME: attention maps of classes, trained once for a frozen classifier, one pass per map.

Mariano V. Ntrougkas, Nikolaos Gkalelis, Vasileios Mezaris, 2024, T-TAME: Trainable Attention
Mechanism for Explaining Convolutional Networks and Vision Transformers, arXiv 2403.04523. Loss and
module: `ilk.training.objectives.masked_confidence`, `ilk.architectures.attention_maps`.

Departures: the head may be any of ilk's, and the layers are found by running the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ilk.core.attention_maps import TrainedMaps
from ilk.core.errors import Unavailable
from ilk.explain.contract import ExplainerTags, Map
from ilk.explain.networks import Part, open_parts, spread_map
from ilk.explain.subject import Subject
from ilk.explain.windows import resize_map

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TTame(ExplainerTags):
    """Trained attention maps; train them with `ilk explain --train-images DIR`."""

    name: ClassVar[str] = "t-tame"
    paper: ClassVar[str] = "Ntrougkas, Gkalelis and Mezaris 2024"
    needs_gradients: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True

    def count_passes(self, subject: Subject, /) -> int:
        """Return one."""
        return 1

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the map of the target less that of the contrast, if there is one."""
        trained = find_maps(subject)
        answer = subject.answer
        total = np.zeros(subject.shape, np.float32)
        for part in open_parts(subject, self.name):
            maps = compute_maps(part, trained, subject)
            values = maps[answer.target]
            if answer.against >= 0:
                values = values - maps[answer.against]
            large = resize_map(values, (part.shape[1], part.shape[2]))
            total += part.weight * spread_map(part, large, subject)
        return total


def find_maps(subject: Subject) -> TrainedMaps:
    """Return the attention maps of the classifier of a subject.

    Raises:
        Unavailable: None were trained for its classes and its network.
    """
    from ilk.explain.train_maps import find_encoder

    classifier = subject.answer.classifier
    trained: TrainedMaps | None = getattr(classifier, "attention_maps", None)
    encoder = find_encoder(subject.encoder)
    if trained is None:
        raise Unavailable(
            "t-tame needs attention maps that are trained for this model: run ilk explain with "
            "--train-images DIR once, or use --method occlusion or rise"
        )
    if trained.n_classes != len(classifier.classes) or trained.space != encoder.space.key:
        raise Unavailable(
            "the attention maps of this model were trained for other classes or another network; "
            "train t-tame again: ilk explain with --train-images DIR, or use --method occlusion"
        )
    return trained


def compute_maps(part: Part, trained: TrainedMaps, subject: Subject) -> Map:
    """Return the maps `[k, h', w']` in (0, 1) of what a network sees of the subject: one pass."""
    import torch

    from ilk.architectures.attention_maps import align_maps
    from ilk.explain.taps import record_layers, to_maps

    x = torch.from_numpy(part.normalize(part.cut(subject.prepared[None])))
    layers = [tap.layer for tap in trained.taps]
    with torch.inference_mode(), record_layers(part.network, layers) as outputs:
        part.network(x)
        subject.n_passes += 1
        rectified: list[Tensor] = []
        for tap in trained.taps:
            maps = to_maps(outputs[tap.layer], x.shape)
            assert maps is not None, "the layer had places when the maps were trained"
            mixed = torch.einsum("dc,bchw->bdhw", torch.from_numpy(tap.weight), maps)
            rectified.append(torch.relu(maps + mixed + torch.from_numpy(tap.bias)[:, None, None]))
        aligned = align_maps(rectified)
        fusion = torch.from_numpy(np.concatenate([tap.fusion for tap in trained.taps], 1))
        scores = torch.einsum("kc,bchw->bkhw", fusion, aligned)
        bias = torch.from_numpy(trained.bias)[:, None, None]
        return np.asarray((scores + bias).sigmoid()[0].numpy(), np.float32)
