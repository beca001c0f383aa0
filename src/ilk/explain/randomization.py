"""Whether a map depends on what the model has learned: the parameter-randomization check.

Julius Adebayo and others, 2018, Sanity Checks for Saliency Maps, arXiv 1810.03292, section 3: the
map of a model whose parameters are random must differ from that of the model.

The head is randomized by mixing up the features, which any head allows: a head of random weights of
the same size. The network behind the encoder is opened in torch, and the entries of each of its
parameter tensors are mixed up, from the top; so their scale stays, and activations neither vanish
nor explode. Encoders without a network are checked by the head alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import CombinesEncoders, Embeds
from ilk.core.data import Features
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.runtime import CPU_BATCH_SIZE, Runner
from ilk.encoders.views import ViewEncoder
from ilk.explain.answer import Answer
from ilk.explain.contract import Map
from ilk.explain.fidelity import rank_pixels
from ilk.explain.networks import has_networks
from ilk.explain.subject import Subject
from ilk.hub.preprocessing import FloatArray

if TYPE_CHECKING:
    from torch.nn import Module

MAX_CORRELATION = 0.5  # of a map of random parameters with the map of the model
HEAD = "head"


@dataclass(frozen=True)
class RandomizationCheck:
    """Rank correlations of a map with those of randomized models.

    Attributes:
        explainer: Name of the explainer.
        correlations: By what was randomized: `head`, `network` (all of it).
        n_images: Images over which they are means.
    """

    explainer: str
    correlations: dict[str, float]
    n_images: int

    @property
    def is_passed(self) -> bool:
        """Whether every correlation is below `MAX_CORRELATION`."""
        return max(self.correlations.values()) < MAX_CORRELATION

    @property
    def sentence(self) -> str:
        """What was found."""
        listed = ", ".join(f"{name} {value:.2f}" for name, value in self.correlations.items())
        found = (
            "its maps depend on what the model has learned"
            if self.is_passed
            else "its maps hardly depend on what the model has learned, so do not trust them, "
            "whatever their score"
        )
        return (
            f"{self.explainer}: {found} (rank correlation with the maps of a model with random "
            f"parameters: {listed}; allowed: at most {MAX_CORRELATION:.2f})."
        )


@dataclass(frozen=True, eq=False)
class MixedHead:
    """The head of a classifier after its features were mixed up."""

    model: Any
    order: NDArray[np.int64]

    def logits(self, x: Features) -> NDArray[np.float64]:
        """Return the logits `[n, k]` of mixed features `[n, d]`."""
        return np.asarray(self.model.logits(np.asarray(x)[:, self.order]), np.float64)


@dataclass(frozen=True, eq=False)
class MixedLabelHead:
    """The head of a classifier of several labels after its features were mixed up."""

    model: Any
    order: NDArray[np.int64]

    def margins(self, x: Features) -> NDArray[np.float64]:
        """Return the margins `[n, k]` of mixed features `[n, d]`."""
        return np.asarray(self.model.margins(np.asarray(x)[:, self.order]), np.float64)


def check_randomization(
    subjects: Sequence[Subject], explainer: Any, seed: int = 0
) -> RandomizationCheck:
    """Compare the maps of a model with those of randomized ones on a few subjects."""
    found: dict[str, list[float]] = {}
    for subject in subjects:
        values = explainer.explain(subject, seed)
        classifier = subject.answer.classifier
        randomized = {HEAD: randomize_head(classifier, seed)}
        if has_networks(classifier.encoder):
            randomized["network"] = randomize_network(classifier, seed)
        for name, other in randomized.items():
            answer = Answer(other, subject.answer.target, subject.answer.against)
            other_values = explainer.explain(subject.with_answer(answer), seed)
            found.setdefault(name, []).append(correlate_ranks(values, other_values))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return RandomizationCheck(explainer.name, means, len(subjects))


def correlate_ranks(first: Map, second: Map) -> float:
    """Return the rank correlation of two maps `[h, w]`, in [-1, 1]; ties at random."""
    ranks = rank_pixels(first, 1).ravel(), rank_pixels(second, 2).ravel()
    return float(np.corrcoef(*ranks)[0, 1])


def randomize_head(classifier: Any, seed: int) -> Any:
    """Return a classifier whose head reads the features in another order."""
    order = np.random.default_rng(seed).permutation(classifier.encoder.space.dim)
    head = MixedLabelHead if hasattr(classifier.model, "margins") else MixedHead
    return replace(classifier, model=head(classifier.model, order))


def randomize_network(classifier: Any, seed: int, part: float = 1.0) -> Any:
    """Return a classifier whose network has random parameters.

    Args:
        classifier: A classifier all of whose features come from torch networks.
        seed: Seed of the parameters.
        part: Part of the parameter tensors, counted from the top, in (0, 1].
    """
    return replace(classifier, encoder=_randomize(classifier.encoder, seed, part))


def _randomize(encoder: Embeds, seed: int, part: float) -> Embeds:
    if isinstance(encoder, CombinesEncoders):
        return CombinedEncoder(tuple(_randomize(e, seed, part) for e in encoder.parts))
    if isinstance(encoder, ViewEncoder):
        return ViewEncoder(_randomize(encoder.base, seed, part), encoder.n_views)
    assert isinstance(encoder, NetworkEncoder), "checked by has_networks"
    network = mix_parameters(encoder.checkpoint.build_network().eval(), seed, part)
    other = copy.copy(encoder)
    other.__dict__.pop("space", None)  # the cached one
    checkpoint: Any = RandomizedCheckpoint(encoder.checkpoint, network, f"{seed} {part}")
    other.checkpoint, other._original = checkpoint, None
    other._runner = Runner(_make_run(network), encoder.preprocess, CPU_BATCH_SIZE)
    return other


@dataclass(frozen=True, eq=False)
class RandomizedCheckpoint:
    """The files of a network whose parameters were mixed up."""

    base: Any
    network: Any
    stamp: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)

    def digest_files(self) -> dict[str, str]:
        """Return the digests of the files, and how the parameters were mixed up."""
        return {**self.base.digest_files(), "randomized": self.stamp}

    def build_network(self) -> Any:
        """Return the network."""
        return self.network


def mix_parameters(network: Module, seed: int, part: float = 1.0) -> Module:
    """Mix up the entries of each parameter tensor of a network, from the top; return it."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors = list(network.parameters())
    with torch.no_grad():
        for tensor in tensors[len(tensors) - max(1, round(part * len(tensors))) :]:
            order = torch.randperm(tensor.numel(), generator=generator)
            tensor.copy_(tensor.flatten()[order].view_as(tensor))
    return network.requires_grad_(False)


def _make_run(network: Module) -> Any:
    import torch

    def run(x: FloatArray) -> Features:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(x)).float().numpy())

    return run
