"""Continual kernel ridge regression on generated rows: no old row needs to be stored.

Mohammad Mahdi Derakhshani, Xiantong Zhen, Ling Shao, Cees G. M. Snoek, 2021, Generative Kernel
Continual Learning, arXiv 2112.13410; the generator: Tipping, Bishop, 1999, Probabilistic Principal
Component Analysis, doi:10.1111/1467-9868.00196.

    store       per class its mean m, `n_factors` loadings L and the residual std s
    generate    x = m + L' z + s e,  z and e standard normal: `samples_per_class` rows per class
    classify    W = Y' K (K K' + a I)^-1 on the generated rows with their one-hot classes Y

Departures: where the paper trains a variational autoencoder, each class has a linear one on frozen
features, fitted in closed form, with a residual per feature. Its kernel is linear, or that of a
hidden layer trained on generated rows by cross-entropy and, with `contrastive_weight`, a supervised
contrastive term, which replaces the paper's regulariser of the latents. The penalty a is chosen on
half of the rows. With the linear kernel the order of tasks changes rounding errors only. Classes
are generated in equal numbers and weighted by the number of their training rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits, one_hot
from ilk.core.linear_models import MLP, apply_affine
from ilk.maths import factor_analysis as factors
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.pca import fit_pca
from ilk.training.class_incremental_head import make_incremental_head, train_incremental
from ilk.training.continual import select_update_rows

Matrix = NDArray[np.float64]
PENALTIES = np.logspace(-4, 2, 13)  # multiples of the mean eigenvalue
CONTRASTIVE_TEMPERATURE = 0.1
STEPS = 150


@dataclass(frozen=True, eq=False)
class KernelMachine:
    """A kernel machine with the generator of its training rows.

    Attributes:
        class_factors: Mean, loadings and residual std of each class, `[k, n_factors + 2, d]`
            float32; or stored rows.
        counts: Training rows of each class, or their total weight, `[k]`.
        centre: `[d]` float32; with `scale`, `hidden_weight` and `hidden_bias`, the hidden layer.
        scale: `[d]` float32.
        hidden_weight: `[h, d]` float32; h = 0 makes the kernel linear in the features.
        hidden_bias: `[h]` float32.
        weight: `[k, d or h]` float64.
        bias: `[k]` float64, `-inf` for a class without rows.
    """

    kind: ClassVar[str] = "kernel_machine"
    shapes: ClassVar[dict[str, str]] = {
        "class_factors": "k f d",
        "counts": "k",
        "centre": "d",
        "scale": "d",
        "hidden_weight": "h d",
        "hidden_bias": "h",
        "weight": "k w",
        "bias": "k",
    }

    class_factors: Features
    counts: NDArray[Any]
    centre: Features
    scale: Features
    hidden_weight: Features
    hidden_bias: Features
    weight: Matrix
    bias: Matrix

    def transform(self, x: Features) -> Matrix:
        """Return the centred features `[n, d]`, or the hidden units `[n, h]`, of rows `[n, d]`."""
        centred = np.asarray(x, np.float64) - self.centre
        if not len(self.hidden_weight):
            return centred
        return np.asarray(
            np.maximum(apply_affine(centred / self.scale, self.hidden_weight, self.hidden_bias), 0)
        )

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        return self.transform(x) @ self.weight.T + self.bias


@dataclass(frozen=True)
class GenerativeKernel(MethodTags):
    """Kernel ridge regression on generated rows.

    Attributes:
        n_factors: Number of loadings per class, >= 0.
        samples_per_class: Rows generated per class, >= 2.
        store_rows: Store `n_factors + 2` rows per class, the same memory, instead of the generator.
        hidden: Width of the hidden layer; 0 for the linear kernel.
        contrastive_weight: Weight of the contrastive term, >= 0; it needs a hidden layer.
        seed: Seed of generated rows and initial weights.
    """

    supports_weights = True

    n_factors: int = 4
    samples_per_class: int = 100
    store_rows: bool = False
    hidden: int = 0
    contrastive_weight: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_factors < 0 or self.samples_per_class < 2 or self.hidden < 0:
            raise ValueError(
                f"n_factors is {self.n_factors}, samples_per_class {self.samples_per_class}, "
                f"hidden {self.hidden}; samples_per_class must be at least 2, the others at least 0"
            )
        if not self.contrastive_weight >= 0:
            raise ValueError(
                f"contrastive_weight is {self.contrastive_weight}; it must be at least 0"
            )

    def fit(self, data: Data) -> KernelMachine:
        labelled = labelled_features(data, self)
        class_factors = np.zeros((data.k, self.n_factors + 2, labelled.x.shape[1]), np.float32)
        return self._train(labelled, class_factors, np.zeros(data.k, np.int64))

    def update(self, model: KernelMachine, data: Data) -> KernelMachine:
        """Return the model with the labelled rows of `data`; generated rows stand for old ones.

        Raises:
            ValueError: If the two have different numbers of classes.
        """
        rows = select_update_rows(len(model.bias), data, self)
        return self._train(rows, model.class_factors.copy(), model.counts) if rows else model

    def _train(self, rows: Data, class_factors: Features, counts: NDArray[Any]) -> KernelMachine:
        new_counts = rows.sum_label_weights()
        for c in np.flatnonzero(new_counts):
            part, rng = rows.take(rows.y == c), self._make_rng(rows.classes[c], 0)
            class_rows, weight = part.x, part.sample_weight
            if counts[c]:
                n_old = max(1, round(float(counts[c])))
                old_rows = self._sample_class(class_factors, counts, int(c), rng, n_old)
                class_rows = np.concatenate([old_rows.astype(np.float32), class_rows])
                if weight is not None:
                    weight = np.append(np.ones(len(old_rows)), weight)
            class_factors[c] = self._summarize_class(class_rows, weight, rng)
        counts = counts + new_counts
        x, y = self._generate_rows(class_factors, counts, rows.classes)
        return self._fit_kernel_machine(
            Data(x.astype(np.float32), y, rows.classes), class_factors, counts
        )

    def _summarize_class(
        self, class_rows: Features, weight: Matrix | None, rng: np.random.Generator
    ) -> Features:
        """Return the factors of rows `[n, d]`, or a random subset of the rows."""
        if not self.store_rows:
            return factors.fit_factors(class_rows, self.n_factors, weight).astype(np.float32)
        out = np.zeros((self.n_factors + 2, class_rows.shape[1]), np.float32)
        stored = class_rows[rng.permutation(len(class_rows))[: len(out)]]
        out[: len(stored)] = stored
        return out

    def _generate_rows(
        self, class_factors: Features, counts: NDArray[Any], names: tuple[str, ...]
    ) -> tuple[Matrix, Labels]:
        """Return generated rows of every class with rows, `[m, d]`, and their classes, `[m]`."""
        parts, labels = list[Matrix](), list[int]()
        for c in np.flatnonzero(counts):
            rng = self._make_rng(names[c], 1)
            parts.append(
                self._sample_class(class_factors, counts, int(c), rng, self.samples_per_class)
            )
            labels += [int(c)] * len(parts[-1])
        return np.concatenate(parts), np.array(labels, np.int64)

    def _sample_class(
        self,
        class_factors: Features,
        counts: NDArray[Any],
        c: int,
        rng: np.random.Generator,
        n: int,
    ) -> Matrix:
        """Return `n` generated rows of class c, or its stored rows."""
        factors64 = class_factors[c].astype(np.float64)
        if self.store_rows:
            stored: Matrix = factors64[: min(len(factors64), int(counts[c]))]
            return stored
        own_variance = factors64[-1] ** 2
        pooled_variance = factors.pool_variance(class_factors, counts)
        # the pooled variance counts as one more row of the class
        noise_std = np.sqrt((counts[c] * own_variance + pooled_variance) / (counts[c] + 1))
        return factors.sample_factors(factors64, noise_std, n, rng)

    def _make_rng(self, name: str, stream: int) -> np.random.Generator:
        """Return a generator that depends on the name of the class, not on the order of tasks."""
        return np.random.default_rng([self.seed, stream, crc32(name.encode())])

    def _fit_kernel_machine(
        self, generated: Data, class_factors: Features, counts: Labels
    ) -> KernelMachine:
        d = generated.x.shape[1]
        centre = generated.x.mean(0, dtype=np.float64).astype(np.float32)
        layer = MLP(
            *(
                centre,
                np.ones(d, np.float32),
                np.zeros((0, d), np.float32),
                np.zeros(0, np.float32),
            ),
            *(np.zeros((generated.k, 0), np.float32), np.zeros(generated.k, np.float32)),
        )
        if self.hidden:
            layer = self._train_hidden_layer(generated)
        layer_arrays = (layer.centre, layer.scale, layer.hidden_weight, layer.hidden_bias)
        untrained = KernelMachine(
            class_factors, counts, *layer_arrays, np.zeros((0, 0)), np.zeros(0)
        )
        present = np.flatnonzero(counts)
        present_weight, bias = _fit_ridge(
            untrained.transform(generated.x), np.searchsorted(present, generated.y), len(present)
        )
        weight, offset = (
            np.zeros((generated.k, present_weight.shape[1])),
            np.full(generated.k, -np.inf),
        )
        weight[present], offset[present] = (
            present_weight,
            bias + np.log(counts[present] / counts.sum()),
        )
        return replace(untrained, weight=weight, bias=offset)

    def _train_hidden_layer(self, generated: Data) -> MLP:
        """Return a hidden layer trained to classify the generated rows."""
        from ilk.training.heads import cross_entropy

        def objective(net: Any, batch: Any, generator: Any) -> Any:
            loss = cross_entropy(net, batch, generator)
            if self.contrastive_weight:
                loss = loss + self.contrastive_weight * _contrastive_loss(
                    net.compute_hidden(batch.x), batch.y
                )
            return loss

        return train_incremental(
            make_incremental_head(generated, None, self.hidden, self.seed),
            objective,
            STEPS,
            self.seed,
        )


def _contrastive_loss(hidden: Any, y: Any) -> Any:
    """Return the supervised contrastive loss (Khosla et al., 2020, arXiv 2004.11362)."""
    import torch
    from torch.nn import functional

    u = functional.normalize(hidden)
    is_self = torch.eye(len(y), dtype=torch.bool)
    log_similarity = (
        (u @ u.T / CONTRASTIVE_TEMPERATURE).masked_fill(is_self, -torch.inf).log_softmax(1)
    )
    is_positive = (y[:, None] == y) & ~is_self
    mean = log_similarity.masked_fill(~is_positive, 0).sum(1) / is_positive.sum(1).clamp(min=1)
    return -mean[is_positive.any(1)].sum() / max(1, int(is_positive.any(1).sum()))


def _fit_ridge(z: Matrix, y: Labels, k: int) -> tuple[Matrix, Matrix]:
    """Return weight `[k, m]` and bias `[k]` of ridge regression on `z [n, m]`, as log likelihoods.

    Every other row of a class is held out to choose the penalty and the inverse temperature.
    """
    targets, is_held_out = one_hot(y, k), np.zeros(len(y), bool)
    for c in range(k):
        is_held_out[np.flatnonzero(y == c)[1::2]] = True
    penalty, inverse_temperature = 1.0, 1.0
    if k > 1 and is_held_out.any():
        candidate_scores = [
            z[is_held_out] @ w.T + b
            for w, b in _iterate_ridge_path(z[~is_held_out], targets[~is_held_out], PENALTIES)
        ]
        best = int(np.argmin([np.sum((targets[is_held_out] - s) ** 2) for s in candidate_scores]))
        penalty, inverse_temperature = (
            float(PENALTIES[best]),
            fit_inverse_temperature(candidate_scores[best], y[is_held_out]),
        )
    weight, bias = next(_iterate_ridge_path(z, targets, np.array([penalty])))
    return inverse_temperature * weight, inverse_temperature * bias


def _iterate_ridge_path(
    z: Matrix, targets: Matrix, penalties: Matrix
) -> Iterator[tuple[Matrix, Matrix]]:
    """Yield the ridge regression of `targets [n, k]` on `z [n, m]` for each penalty."""
    pca, target_mean = fit_pca(z), targets.mean(0)
    moment = pca.scores.T @ (targets - target_mean)
    mean = float(pca.eigenvalues.mean()) if len(pca.eigenvalues) else 1.0
    for penalty in penalties:
        weight = (moment.T / (pca.eigenvalues + penalty * mean)) @ pca.basis.T
        yield weight, target_mean - weight @ pca.centre
