"""Integrated gradients: what each pixel adds on the way from a baseline to the image.

Mukund Sundararajan, Ankur Taly, Qiqi Yan, 2017, Axiomatic Attribution for Deep Networks, arXiv
1703.01365, equations 1 and 3, at midpoints:

    IG_j = (x_j - b_j) (1/m) sum_k  d f / d x_j  at  b + (k - 1/2)/m (x - b)
    sum_j IG_j = f(x) - f(b)

f is the log-odds of the answer; b is the image's mean colour. The map is the sum over channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.explain.baselines import FILLS, Fill
from ilk.explain.contract import ExplainerTags, Map, check_least
from ilk.explain.networks import open_parts
from ilk.explain.subject import GRADIENT_PASSES, Subject


@dataclass(frozen=True)
class IntegratedGradients(ExplainerTags):
    """Integrated gradients.

    Attributes:
        n_steps: Points on the way, at least 1.
        fill: The baseline: `mean` colour, or `blur`.
    """

    name: ClassVar[str] = "integrated-gradients"
    paper: ClassVar[str] = "Sundararajan, Taly and Yan 2017"
    needs_gradients: ClassVar[bool] = True

    n_steps: int = 32
    fill: Fill = "mean"

    def __post_init__(self) -> None:
        check_least(self, n_steps=1)
        if self.fill not in FILLS:
            raise ValueError(f"fill is {self.fill!r}; it must be one of {' and '.join(FILLS)}")

    def count_passes(self, subject: Subject, /) -> int:
        """Return the cost of the gradients."""
        return GRADIENT_PASSES * self.n_steps

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the sum over channels; over all pixels it is the change of the log-odds."""
        import torch

        parts = open_parts(subject, self.name)
        start = subject.get_filled(self.fill).astype(np.float32)
        way = subject.prepared.astype(np.float32) - start
        total = np.zeros(subject.prepared.size)
        for k in range(self.n_steps):
            point = start + np.float32((k + 0.5) / self.n_steps) * way
            inputs = [
                torch.from_numpy(part.normalize(part.cut(point[None]))).requires_grad_(True)
                for part in parts
            ]
            with torch.enable_grad():
                outputs = [p.network(x)[0] * p.weight for p, x in zip(parts, inputs, strict=True)]
            features = np.zeros(subject.encoder.space.dim, np.float32)
            for part, output in zip(parts, outputs, strict=True):
                features[part.columns[0] : part.columns[1]] += output.detach().numpy()
            gradient = subject.answer.compute_gradient(features)
            for part, x, output in zip(parts, inputs, outputs, strict=True):
                first, last = part.columns
                weights = torch.from_numpy(gradient[first:last]).to(output.dtype)
                (output * weights).sum().backward()
                assert x.grad is not None
                moved = part.normalize(part.cut(subject.prepared[None])) - part.normalize(
                    part.cut(start[None])
                )
                first, last = part.values
                total[first:last] += (x.grad.numpy()[0] * moved[0]).ravel() / self.n_steps
        subject.n_passes += GRADIENT_PASSES * self.n_steps
        return subject.geometry.collect(total.reshape(subject.prepared.shape))
