"""Embeddings in closed form: the features as they are, whitened, and linear discriminants.

What a learned embedding has to beat. Each is a `MetricHead`, so that it can be saved as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ilk.architectures.metric_head import MetricHead
from ilk.core.data import Labels
from ilk.maths.covariance import estimate_covariance
from ilk.maths.gaussian import compute_statistics
from ilk.maths.pca import find_axes

LDA, WHITENING = CLOSED_FORMS = ("LDA", "Whitening")
RIDGE = 1e-5  # of the mean eigenvalue, added to those that are divided by


def make_projection(name: str, x: NDArray[Any], y: Labels, width: int) -> MetricHead:
    """Return the embedding called `name`, fitted to training rows.

    Args:
        name: One of `CLOSED_FORMS`.
        x: Features, `[n, d]`.
        y: Classes, `[n]`.
        width: Greatest width of the embedding.
    """
    return fit_lda(x, y, width) if name == LDA else fit_whitening(x, width)


def fit_whitening(x: NDArray[Any], width: int) -> MetricHead:
    """Return the first principal components, each scaled to the same variance.

    Args:
        x: Features, `[n, d]`.
        width: Greatest width of the embedding.
    """
    centre, basis, eigenvalues = find_axes(x)
    rank = min(width, len(eigenvalues))
    variance = eigenvalues[:rank] + RIDGE * float(np.mean(eigenvalues))
    return _make_head(centre, basis[:, :rank].T / np.sqrt(variance)[:, None])


def fit_lda(x: NDArray[Any], y: Labels, width: int) -> MetricHead:
    """Return features whitened by the covariance within classes, on the axes that separate these.

    The first axes are the discriminants (Ronald A. Fisher, 1936; C. Radhakrishna Rao, 1948), at
    most one fewer than classes. They are too few to tell new classes apart where classes are few,
    so the others, on which the training classes do not differ, follow in the order of the variance
    that is left; all of them are whitened. The covariance is shrunk as in
    `ilk.maths.covariance`.

    Args:
        x: Features, `[n, d]`.
        y: Classes, `[n]`, at least two of them.
        width: Greatest width of the embedding.
    """
    names, labels = np.unique(y, return_inverse=True)
    rows = np.asarray(x, np.float64)
    stats = compute_statistics(rows, labels.astype(np.int64), len(names))
    within = estimate_covariance(stats)
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(np.maximum(values, RIDGE * float(values.mean())))
    centred = (rows - rows.mean(0)) @ whiten
    means = np.stack([centred[labels == c].mean(0) for c in range(len(names))])
    between = np.linalg.svd(means - means.mean(0), full_matrices=False)
    axes = between[2][: len(names) - 1]
    rest = centred - centred @ axes.T @ axes
    others = find_axes(rest)[1].T
    directions = np.concatenate([axes, others])[: min(width, x.shape[1])]
    return _make_head(rows.mean(0), directions @ whiten.T)


def _make_head(centre: NDArray[np.float64], weight: NDArray[np.float64]) -> MetricHead:
    head = MetricHead(weight.shape[1], len(weight))
    with torch.no_grad():
        head.centre.copy_(torch.from_numpy(centre))
        head.linear.weight.copy_(torch.from_numpy(np.array(weight)))
    return head.eval()
