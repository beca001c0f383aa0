"""EnsLoss: a random convex calibrated loss per update, given by its derivatives at the margins.

Ben Dai, 2024, EnsLoss: Stochastic Calibrated Loss Ensembles for Preventing Overfitting in
Classification, arXiv 2409.00908. A gradient step needs no loss, only its derivative g at each
margin z of the batch, so derivatives are drawn:

    g = -min((1 + power e)_+ ^ (1 / power), 1)    e ~ N(0, 1)   (power 0: -min(exp e, 1)), sorted so
                                                  that the smallest margin has the most negative one
                                                  (non-decreasing: a convex loss)
    g <- g - 1e-6                                 (g < 0, at 0 too; with convexity: calibrated)
    g <- g / z^2 where z > 1                      (bounded for large margins)

The bound of 1, the constant 1e-6 and a power drawn from [-1, 1] anew every few epochs, after 0 at
the start, are as in the authors' code. That code divides by z where z > 1, which leaves a loss that
falls like a logarithm for ever; the paper asks for a faster decay, of which the exponent 2 is this
implementation's choice. The margins are z = f_y - f_c for every other class c.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ilk.architectures.head import Head
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap

MIN_DERIVATIVE = 1e-6  # keeps derivatives strictly negative where the draw is 0


class ConvexEnsemble(Objective):
    """Margins times drawn derivatives, whose gradient is that of a random convex loss.

    The value is not a loss; only its gradient has a meaning. All rows are labelled.

    Args:
        power: Power of the Box-Cox transform whose inverse makes the draws positive, in [-1, 1].
            Half of the derivatives are at the bound whatever it is; the smaller it is, the further
            the others are from 0. None is 0 at first, and is drawn anew every `power_interval`
            updates.
        ordered: Sort the derivatives by margin; otherwise their order is random, and the loss is
            not convex.
        power_interval: Updates between draws of the power, >= 1.

    Attributes:
        current_power: The power in use.
    """

    current_power: Tensor

    def __init__(
        self, power: float | None = None, ordered: bool = True, power_interval: int = 50
    ) -> None:
        super().__init__()
        self.power, self.ordered, self.power_interval = power, ordered, power_interval
        self.register_buffer("current_power", torch.tensor(0.0 if power is None else power))

    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        """Draw the power anew where it is due."""
        if self.power is None and step.index and step.index % self.power_interval == 0:
            draw = torch.rand((), generator=step.generator, device=step.generator.device)
            self.current_power.copy_(2 * draw - 1)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        present = unwrap(network, Head).present
        z = compute_margins(network(batch.x)[:, present], present.cumsum(0)[batch.y] - 1)
        derivatives = sample_derivatives(
            z.detach(), step.generator, float(self.current_power), self.ordered
        )
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
    """Return a derivative of a random convex calibrated loss per margin, `[m]`, in [-1, 0).

    Args:
        z: Margins, `[m]`.
        generator: Source of the draws.
        power, ordered: See `ConvexEnsemble`.
    """
    e = torch.randn(z.shape, generator=generator, dtype=torch.float64, device=z.device)
    magnitude = (1 + power * e).clamp(min=0) ** (1 / power) if power else e.exp()
    magnitude = magnitude.clamp(max=1 - MIN_DERIVATIVE)
    if ordered:
        magnitude = torch.empty_like(magnitude).scatter(
            0, z.argsort(), magnitude.sort(descending=True).values
        )
    return -((magnitude + MIN_DERIVATIVE) / z.double().clamp(min=1) ** 2).to(z.dtype)
