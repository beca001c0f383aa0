"""Attention to a trained prefix of keys and values besides the tokens, behind a gate.

The heads' output h becomes `h + g (h' - h)`, with h' the attention to prefix and tokens. By the
unified view (arXiv 2110.04366),

    h' - h = lambda (softmax(x Wq Pk^T) Pv - h),   lambda the share of attention on the prefix

so g = 0 is the pretrained network and g = 1 the prefix as published.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.peft.layers import FUSED, SEPARATE, list_attentions
from ilk.peft.parts import Part, Replacement

KNOWN = FUSED | SEPARATE | {"q_norm", "k_norm", "norm", "attn_drop", "proj_drop"}


class PrefixAttention(Replacement):
    """An attention module with a prefix.

    Args:
        inner: Attention with the layers `qkv` and `proj`, or `q_proj`, `k_proj`, `v_proj` and
            `out_proj`, as in timm and transformers.
        length: Keys and values of the prefix, in each head.
        is_gated: Train a gate of each head, 0 at the start; else it is 1 and does not train.
        generator: Draws keys and values.
    """

    gate: Tensor

    def __init__(
        self, inner: nn.Module, length: int, is_gated: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.inner = inner
        layers = {n: c for n, c in inner.named_children() if isinstance(c, nn.Linear)}
        self.is_fused = "qkv" in layers
        weight = layers["qkv" if self.is_fused else "q_proj"].weight
        width = len(weight) // 3 if self.is_fused else len(weight)
        self.heads: int = inner.num_heads  # type: ignore[assignment]
        self.scale: float | None = getattr(inner, "scale", None)
        shape = (self.heads, length, width // self.heads)
        self.keys = nn.Parameter(torch.randn(shape, generator=generator).to(weight))
        self.values = nn.Parameter(torch.randn(shape, generator=generator).to(weight))
        gate = torch.zeros if is_gated else torch.ones
        start = gate(self.heads, 1, 1, device=weight.device, dtype=weight.dtype)
        if is_gated:
            self.gate = nn.Parameter(start)
        else:
            self.register_buffer("gate", start, persistent=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the attention inside returns, with the prefix; see its `forward`.

        Raises:
            InputError: There is a mask.
        """
        x, masks = (args[0], args[1:]) if args else (kwargs["hidden_states"], ())
        masks += (kwargs.get("attention_mask"), kwargs.get("attn_mask"))
        if any(m is not None for m in masks) or kwargs.get("is_causal"):
            raise InputError("Prefix needs attention of all tokens to all tokens, without a mask")
        q, k, v = (self._split(part) for part in self._project(x))
        q, k = self._call("q_norm", q), self._call("k_norm", k)
        h = self._attend(q, k, v)
        n = len(x)
        keys = torch.cat([self.keys.expand(n, -1, -1, -1), k], 2)
        values = torch.cat([self.values.expand(n, -1, -1, -1), v], 2)
        h = h + self.gate * (self._attend(q, keys, values) - h)
        merged = self._call("norm", h.transpose(1, 2).flatten(2))
        out = self._call("proj_drop", self._call("proj" if self.is_fused else "out_proj", merged))
        return out if self.is_fused else (out, None)

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.is_fused:
            return torch.chunk(self._call("qkv", x), 3, 2)
        return tuple(self._call(name, x) for name in ("q_proj", "k_proj", "v_proj"))

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, scale=self.scale)

    def _call(self, name: str, x: Tensor) -> Tensor:
        """Return `x` passed through a layer of the attention inside, where it has that layer."""
        layer = self.inner._modules.get(name)
        passed: Tensor = x if layer is None else layer(x)
        return passed


def make_prefixes(
    network: nn.Module, length: int, is_gated: bool, generator: torch.Generator
) -> list[tuple[str, Part]]:
    """Return the attention with a prefix for each attention that consists of known layers."""
    return [
        (path, PrefixAttention(module, length, is_gated, generator))
        for path, module in list_attentions(network)
        if not list(module.parameters(recurse=False))
        and {name for name, _ in module.named_children()} <= KNOWN
    ]
