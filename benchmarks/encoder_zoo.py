"""Encoders that differ clearly in quality, and their target data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import datasets
from benchmarks.small_networks import SmallNetwork, count_weights, extract_features, train_network
from ilk.core.data import Data, Features, Labels
from ilk.encoders.hog import HogEncoder
from ilk.maths.pca import fit_pca

N_AXES = 32
N_SOURCE = 4000  # training rows of the networks; targets use other rows
LONG_STEPS, SHORT_STEPS = 300, 25  # steps


@dataclass(frozen=True)
class CandidateEncoder:
    """An encoder: name, function of flat images, number of weights and its network, if any."""

    name: str
    embed: Callable[[Features], Features]
    n_parameters: int = 0
    network: SmallNetwork | None = None


def sample_rows(data: Data, n: int) -> Data:
    """Return `n` rows in a fixed random order, or with `-n` all other rows.

    Data sets are sorted by class, so that the first rows would be of few classes.
    """
    order = np.random.default_rng(0).permutation(len(data))
    return data.take(order[:n] if n > 0 else order[-n:])


@cache
def make_encoders() -> tuple[CandidateEncoder, ...]:
    """Return the sixteen encoders with newly trained networks."""
    mnist, fashion = (
        sample_rows(datasets.read_mnist("train"), N_SOURCE),
        sample_rows(datasets.read_fashion("train"), N_SOURCE),
    )
    letters = sample_rows(datasets.read_notmnist(), N_SOURCE)
    axes = fit_pca(mnist.x[:1000]).basis[:, :N_AXES]
    plain = [
        CandidateEncoder("pixels 28", lambda x: x),
        CandidateEncoder("pixels 14", partial(_pool_pixels, side=14)),
        CandidateEncoder("pixels 7", partial(_pool_pixels, side=7)),
        CandidateEncoder("HOG 32", partial(_compute_hog, side=32)),
        CandidateEncoder("HOG 16", partial(_compute_hog, side=16)),
        CandidateEncoder("principal axes", lambda x: np.asarray(x @ axes, np.float32), axes.size),
    ]
    tops = fashion.take(np.isin(fashion.y, (0, 2, 3, 4, 6)))
    nets = {
        "random": SmallNetwork(2, 64, 8, 1),
        "random, wide": SmallNetwork(2, 128, 16, 2),
        "MNIST": train_network(mnist, LONG_STEPS, seed=3),
        "MNIST, briefly trained": train_network(mnist, SHORT_STEPS, seed=4),
        "MNIST 0-4": train_network(mnist.take(mnist.y < 5), LONG_STEPS, 32, seed=5),
        "Fashion": train_network(fashion, LONG_STEPS, seed=6),
        "Fashion, wide": train_network(fashion, LONG_STEPS, 128, 16, seed=7),
        "Fashion, briefly trained": train_network(fashion, SHORT_STEPS, seed=8),
        "Fashion tops": train_network(tops, LONG_STEPS, 32, seed=9),
        "notMNIST": train_network(letters, LONG_STEPS, seed=10),
    }
    return (
        *plain,
        *(
            CandidateEncoder(n, partial(extract_features, net), count_weights(net), net)
            for n, net in nets.items()
        ),
    )


def _pool_pixels(x: Features, side: int) -> Features:
    step = 28 // side
    blocks = x.reshape(-1, side, step, side, step)
    return np.asarray(blocks.mean((2, 4)).reshape(len(x), -1), np.float32)


def _compute_hog(x: Features, side: int) -> Features:
    encoder = HogEncoder(side)
    grey = (x.reshape(-1, 28, 28) * 255).round().astype(np.uint8)
    return encoder.embed(
        np.stack([encoder.prepare(Image.fromarray(g).convert("RGB")) for g in grey])
    )


def load_targets() -> dict[str, Data]:
    """Load the targets; none of their rows was used to train a network."""
    letters = datasets.read_notmnist()
    return {
        "USPS": datasets.read_usps("test"),
        "MNIST-M": datasets.read_mnist_m(),
        "notMNIST": sample_rows(letters, -N_SOURCE),
        "Fashion-MNIST": datasets.read_fashion("test"),
        "Omniglot alphabets": _read_alphabets(),
    }


def _read_alphabets() -> Data:
    """Load Omniglot's drawings of set 1 with their alphabets as classes."""
    data = datasets.read_omniglot(1)
    alphabets, y = np.unique(data.domain, return_inverse=True)
    return Data(data.x, y, tuple(f"alphabet {a}" for a in alphabets))


def make_feature_subsets() -> list[CandidateEncoder]:
    """Return ten subsets of the features of one network of photographs."""
    train = datasets.read_cifar("train")
    axes = fit_pca(train.x[:: len(train) // 2000]).basis
    columns = np.random.default_rng(0).permutation(axes.shape[0])
    subsets: list[CandidateEncoder] = [CandidateEncoder("whole", lambda x: x)]
    for d in (8, 32, 128, 512):
        subsets.append(CandidateEncoder(f"{d} axes", partial(_project, axes=axes[:, :d])))
    for d in (16, 64, 256, 640):
        subsets.append(
            CandidateEncoder(f"{d} columns", partial(_select_columns, columns=columns[:d]))
        )
    subsets.append(CandidateEncoder("axes 65-320", partial(_project, axes=axes[:, 64:320])))
    return subsets


def _project(x: Features, axes: NDArray[np.float64]) -> Features:
    return np.asarray(x @ axes, np.float32)


def _select_columns(x: Features, columns: Labels) -> Features:
    return np.asarray(x[:, columns], np.float32)


def make_small_encoders() -> tuple[CandidateEncoder, ...]:
    """Return three encoders of scikit-learn's digits."""
    return (
        CandidateEncoder("pixels 8", lambda x: x),
        CandidateEncoder(
            "8 axes", partial(_project, axes=fit_pca(datasets.read_digits().x).basis[:, :8])
        ),
        CandidateEncoder("4 columns", partial(_select_columns, columns=np.array([20, 21, 36, 42]))),
    )
