"""SVFit: only singular values of the weight matrices train.

Chengwei Sun and others, 2024, SVFit: Parameter-Efficient Fine-Tuning of Large Pre-Trained Models
Using Singular Values, arXiv 2409.05926. A convolution's matrix has a row per output channel.

    W = U S V^T,   W' = W + U_r diag(s_r delta) V_r^T,   delta [r] 0 at the start

The trained delta is the change relative to the singular value. The bases are computed from W again
where a state is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.peft.layers import Layer, check_choice, list_layers
from ilk.peft.low_rank import count_inputs, make_generator, make_like, make_out
from ilk.peft.parts import Part
from ilk.peft.wrapper import Wrapper, check_positive

BASES = ("top", "bottom", "random")


class SingularValues(Part):
    """`y + U_r diag(s_r delta) V_r^T x` beside a layer.

    Args:
        layer: The layer.
        rank: Number of singular values, at most all.
        bases: Which ones; "random" has the top ones with random orthonormal bases.
        generator: Draws random bases.
    """

    values: Tensor

    def __init__(self, layer: Layer, rank: int, bases: str, generator: torch.Generator) -> None:
        super().__init__()
        matrix = layer.weight.detach().flatten(1).double().cpu()
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        if bases == "random":
            u, v = _draw_orthonormal(u, generator), _draw_orthonormal(v.T, generator).T
        kept = slice(-rank, None) if bases == "bottom" else slice(rank)
        u, s, v = u[:, kept], s[kept], v[kept]
        self.down = make_like(layer, v.reshape(-1, *layer.weight.shape[1:])).requires_grad_(False)
        self.up = make_out(layer, u).requires_grad_(False)
        self.register_buffer("values", s.to(layer.weight))
        self.delta = nn.Parameter(torch.zeros_like(self.values))

    def own_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the trained change alone: the bases follow from the pretrained weight."""
        yield "delta", self.delta

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the new output for input `x` and output `y` of the layer."""
        change = self.values * self.delta
        if isinstance(self.down, nn.Conv2d):
            change = change[:, None, None]
        changed: Tensor = y + self.up(self.down(x) * change)
        return changed

    def merge(self, layer: nn.Module) -> None:
        weight: Tensor = layer.weight  # type: ignore[assignment]
        u, v = self.up.weight.flatten(1).double(), self.down.weight.flatten(1).double()
        product = (u * (self.values * self.delta).double()) @ v
        weight.copy_(weight.double() + product.reshape(weight.shape))


def _draw_orthonormal(like: Tensor, generator: torch.Generator) -> Tensor:
    basis: Tensor
    basis, _ = torch.linalg.qr(torch.randn(like.shape, generator=generator, dtype=like.dtype))
    return basis


@dataclass(frozen=True)
class SVFit(Wrapper):
    """The largest singular values of each layer: `rank` parameters a layer.

    Attributes:
        rank: Number of singular values; None is a quarter of those of each layer.
        bases: "top", "bottom" for the smallest singular values, or "random" for random orthonormal
            bases in place of the singular vectors; the last two exist for comparison.
        layers: "all", or those of "attention" or "mlp".
        seed: Seed of random bases.
    """

    learning_rate = 3e-2

    rank: int | None = None
    bases: str = "top"
    layers: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank is not None:
            check_positive(self, rank=self.rank)
        check_choice(self.layers)
        if self.bases not in BASES:
            raise InputError(f"SVFit: bases is {self.bases!r}; it is one of {', '.join(BASES)}")

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        generator = make_generator(self.seed)
        parts: list[tuple[str, Part]] = []
        for path, layer in list_layers(network, self.layers):
            rank = self.rank or -(-min(len(layer.weight), count_inputs(layer)) // 4)
            parts.append((path, SingularValues(layer, rank, self.bases, generator)))
        return parts
