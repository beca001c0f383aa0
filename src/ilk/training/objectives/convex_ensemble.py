"""EnsLoss: a random convex calibrated loss per update, given by its derivatives at the margins.

Ben Dai, 2024, EnsLoss: Stochastic Calibrated Loss Ensembles for Preventing Overfitting in
Classification, arXiv 2409.00908. A gradient step needs no loss, only its derivative g at each
margin z of the batch, so derivatives are drawn:

    g = -(1 + power e)_+ ^ (1 / power), e ~ N(0, 1)   (power 0: -exp e), sorted so that the smallest
    margin has the most negative one                  (non-decreasing: a convex loss)
    g < 0 everywhere, at 0 too                        (with convexity: calibrated for the 0-1 loss)
    g <- g / z^2 where z > 1                          (bounded for large margins)

The margins are z = f_y - f_c for every other class c; derivatives are scaled to a mean of -1.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ilk.architectures.head import Head
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap

MIN_DERIVATIVE = 1e-3  # of the mean: keeps derivatives strictly negative where the draw is 0


class ConvexEnsemble(Objective):
    """Margins times drawn derivatives, whose gradient is that of a random convex loss.

    The value is no loss; only its gradient has a meaning. All rows are labelled.

    Args:
        power: Power of the Box-Cox transform whose inverse makes the draws positive, in [0, 1]:
            0 gives heavy tails like the exponential loss, 1 light ones like the hinge.
        ordered: Sort the derivatives by margin; otherwise their order is random, and the loss is
            not convex.
    """

    def __init__(self, power: float = 0.0, ordered: bool = True) -> None:
        super().__init__()
        self.power, self.ordered = power, ordered

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        present = unwrap(network, Head).present
        z = compute_margins(network(batch.x)[:, present], present.cumsum(0)[batch.y] - 1)
        derivatives = sample_derivatives(z.detach(), step.generator, self.power, self.ordered)
        if batch.weight is not None and len(z):
            z = z * (batch.weight / batch.weight.mean()).repeat_interleave(len(z) // len(batch))
        return (derivatives * z).sum() / len(batch)


def compute_margins(logits: Tensor, y: Tensor) -> Tensor:
    """Return the margin of the true class over each other one, `[n (k - 1)]`.

    Args:
        logits: `[n, k]`.
        y: Class indices, `[n]`.
    """
    true_logits = logits.gather(1, y[:, None])
    is_other = torch.ones_like(logits, dtype=torch.bool).scatter(1, y[:, None], False)
    return (true_logits - logits)[is_other]


def sample_derivatives(
    z: Tensor, generator: Generator, power: float = 0.0, ordered: bool = True
) -> Tensor:
    """Return a derivative of a random convex calibrated loss per margin, `[m]`, all below 0.

    Args:
        z: Margins, `[m]`.
        generator: Source of the draws.
        power, ordered: See `ConvexEnsemble`.
    """
    if not len(z):  # a single class has no margins
        return z
    e = torch.randn(z.shape, generator=generator, dtype=torch.float64, device=z.device)
    magnitude = (1 + power * e).clamp(min=0) ** (1 / power) if power else e.exp()
    magnitude = magnitude + MIN_DERIVATIVE
    if ordered:
        magnitude = torch.empty_like(magnitude).scatter(
            0, z.argsort(), magnitude.sort(descending=True).values
        )
    magnitude = magnitude / z.double().clamp(min=1) ** 2
    return -(magnitude / magnitude.mean()).to(z.dtype)
