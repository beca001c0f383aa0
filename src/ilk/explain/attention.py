"""The attention matrices of a transformer while it runs, of timm's and transformers' networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import Unavailable
from ilk.explain.activations import HOOKS_LOCK, find_grid
from ilk.explain.networks import Part

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Array = NDArray[np.float32]
EAGER = "eager"  # the implementation of transformers that forms the matrix


@dataclass(eq=False)
class RecordedAttention:
    """Attention `[1, heads, n, n]` of each layer, in the order in which they ran."""

    tensors: list[Tensor] = field(default_factory=list)

    def list_layers(self) -> list[tuple[Array, Array]]:
        """Return attention and its gradient `[heads, n, n]` of each layer, after a backward run."""
        layers: list[tuple[Array, Array]] = []
        for tensor in self.tensors:
            gradient = np.zeros(tensor.shape[1:], np.float32)
            if tensor.grad is not None:
                gradient = tensor.grad.numpy()[0]
            layers.append((tensor.detach().numpy()[0], gradient))
        return layers

    def to_grid(self, flow: Array, shape: tuple[int, ...]) -> Array:
        """Return what reaches the answer `[h', w']` of a flow `[n, n]` between tokens.

        Raises:
            Unavailable: The tokens form no grid.
        """
        grid = find_grid(len(flow), shape)
        if grid is None:
            raise Unavailable(
                "the tokens of this network form no grid over the image; use --method occlusion"
            )
        n_extra = len(flow) - grid[0] * grid[1]
        row = flow[0] if n_extra else flow.mean(0)
        return np.asarray(row[n_extra:].reshape(grid), np.float32)


@contextmanager
def record_attention(part: Part, encoder: str) -> Iterator[RecordedAttention]:
    """Record the attention of the layers of a network while it runs.

    Raises:
        Unavailable: It has no layer whose attention can be read.
    """
    recorded = RecordedAttention()
    with HOOKS_LOCK, ExitStack() as stack:
        found = 0
        module: Any
        for module in part.network.modules():
            if hasattr(module, "fused_attn") and hasattr(module, "attn_drop"):
                stack.callback(setattr, module, "fused_attn", module.fused_attn)
                module.fused_attn = False
                hook = module.attn_drop.register_forward_hook(_make_hook(recorded, None))
                found += 1
            elif hasattr(module, "q_proj") and hasattr(module, "config"):
                config = module.config
                before = config._attn_implementation
                stack.callback(setattr, config, "_attn_implementation", before)
                config._attn_implementation = EAGER
                hook = module.register_forward_hook(_make_hook(recorded, 1))
                found += 1
            else:
                continue
            stack.callback(hook.remove)
        if not found:
            raise Unavailable(
                f"attention-rollout needs a transformer, and {encoder} has no layer whose "
                "attention can be read; use --method grad-cam or occlusion"
            )
        yield recorded


def _make_hook(recorded: RecordedAttention, place: int | None) -> Any:
    def keep(_module: Module, _inputs: Any, output: Any) -> None:
        tensor = output if place is None else output[place]
        if tensor is None or tensor.dim() != 4 or tensor.shape[-1] != tensor.shape[-2]:
            return  # such as the pooling of SigLIP, where one token attends to all
        if tensor.requires_grad:
            tensor.retain_grad()
        recorded.tensors.append(tensor)

    return keep
