"""A small vision transformer that drops tokens on the way and gives class logits and a hash code.

Xin Jiang, Hao Tang, Yonghua Pan, Zechao Li, 2025, Rethinking Vision Transformer for Large-Scale
Fine-Grained Image Retrieval, arXiv 2504.16691. After some blocks only the class token and the
tokens of greatest score go on. With A_h(CLS, j) the attention of the class token to token j in head
h, and o_hj the output of the head's attention at j,

    score_j = sum_h A_h(CLS, j) n_hj,   n_hj = |o_hj| / sum_h |o_hj|
    logits  = W_c cls,   code = W_h logits      (the hash code is the sign of `code`)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

RULES = ("response", "attention", "random")
MLP_RATIO = 2
INIT_STD = 0.02


@dataclass(frozen=True)
class Pruning:
    """Which tokens go on.

    Attributes:
        keep: After which block (from 1) how many tokens go on, besides the class token.
        rule: "response" (attention of the class token times response), "attention" alone, or
            "random" tokens.
    """

    keep: tuple[tuple[int, int], ...] = ()
    rule: str = "response"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}; it is one of {', '.join(RULES)}")


@dataclass(frozen=True, eq=False)
class TransformerOutput:
    """What the network says of a batch.

    Attributes:
        logits: `[n, k]`.
        code: Values whose signs are the hash code, `[n, bits]`.
        attention: Attention of the class token to the tokens that are left, in the last block, mean
            over heads, `[n, t]`.
        tokens: Numbers of these tokens, row after row of the image, `[n, t]`.
    """

    logits: Tensor
    code: Tensor
    attention: Tensor
    tokens: Tensor


class TokenPruningTransformer(nn.Module):
    """From images `[n, c, h, w]` to hash codes `[n, bits]`, real values whose sign counts.

    Args:
        shape: Channels, height and width of the images.
        patch: Side of a patch, which divides height and width.
        classes: Number of classes, k.
        bits: Length of the code.
        width: Width of the tokens, a multiple of `heads`.
        depth: Number of blocks.
        heads: Heads of the attention.
        pruning: Which tokens go on; by default all.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        patch: int,
        classes: int,
        bits: int = 16,
        width: int = 48,
        depth: int = 6,
        heads: int = 3,
        pruning: Pruning = Pruning(),
    ) -> None:
        super().__init__()
        if shape[1] % patch or shape[2] % patch or width % heads:
            raise ValueError(f"{patch} must divide {shape[1:]}, and {heads} the width {width}")
        self.grid, self.patch = (shape[1] // patch, shape[2] // patch), patch
        self.pruning = pruning
        n_tokens = self.grid[0] * self.grid[1]
        self.embedding = make_stem(shape[0], width, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(INIT_STD * torch.randn(1, n_tokens + 1, width))
        self.blocks = nn.ModuleList(AttentionBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)
        self.hash_layer = nn.Linear(classes, bits, bias=False)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return codes `[n, bits]` of images `[n, c, h, w]`; see `compute`."""
        return self.compute(x, generator).code

    def compute(self, x: Tensor, generator: torch.Generator | None = None) -> TransformerOutput:
        """Return all outputs for images `[n, c, h, w]`.

        Args:
            x: Images.
            generator: Draws the tokens of the rule "random", which takes PyTorch's own without.
        """
        z = self.embedding(x).flatten(2).transpose(1, 2)
        z = torch.cat([self.class_token.expand(len(z), -1, -1), z], 1) + self.position
        tokens = torch.arange(z.shape[1] - 1, device=x.device).expand(len(z), -1)
        keep = dict(self.pruning.keep)
        for number, block in enumerate(self.blocks, 1):
            z, attention, response = block(z)
            if number in keep:
                score = self.score(attention, response, generator)
                # Sorted: the order of tokens is that of the image, as without pruning.
                chosen = score.topk(keep[number], 1).indices.sort(1).values
                tokens = tokens.gather(1, chosen)
                picked = z[:, 1:].gather(1, chosen[..., None].expand(-1, -1, z.shape[2]))
                z = torch.cat([z[:, :1], picked], 1)
                attention = attention.gather(2, chosen[:, None].expand(-1, attention.shape[1], -1))
        logits = self.classifier(self.norm(z[:, 0]))
        return TransformerOutput(logits, self.hash_layer(logits), attention.mean(1), tokens)

    def score(
        self, attention: Tensor, response: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the scores of tokens, `[n, t]`.

        Args:
            attention: Attention of the class token to each token, `[n, heads, t]`.
            response: Norm of the output of each head at each token, `[n, heads, t]`.
            generator: Draws random scores.
        """
        if self.pruning.rule == "random":
            shape = attention[:, 0].shape
            return torch.rand(shape, generator=generator, device=attention.device)
        if self.pruning.rule == "attention":
            return attention.sum(1)
        share = response / response.sum(1, keepdim=True).clamp(min=1e-12)
        return (attention * share).sum(1)

    def hide_patches(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return images `[n, c, h, w]` with the patches of `tokens [n, w]` set to 0."""
        shown = torch.ones(len(x), self.grid[0] * self.grid[1], device=x.device, dtype=x.dtype)
        shown = shown.scatter(1, tokens, 0.0).reshape(len(x), 1, *self.grid)
        return x * shown.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)


def make_stem(channels: int, width: int, patch: int) -> nn.Sequential:
    """Return a stem from images to tokens on a grid: strides of 2, then of what is left.

    Tete Xiao and others, 2021, Early Convolutions Help Transformers See Better, arXiv 2106.14881:
    a few convolutions in place of one learn faster.
    """
    layers: list[nn.Module] = []
    while patch % 2 == 0 and patch > 2:
        layers += [nn.Conv2d(channels, width // 2, 3, 2, 1), nn.GELU()]
        channels, patch = width // 2, patch // 2
    return nn.Sequential(*layers, nn.Conv2d(channels, width, patch, patch))


class AttentionBlock(nn.Module):
    """Attention and a perceptron, each after a normalization and around a residual.

    Args:
        width: Width of the tokens.
        heads: Heads of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width)
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens `[n, t + 1, width]`; the class token's attention and the heads' responses.

        Both are `[n, heads, t]`, without gradient.
        """
        n, t, width = z.shape
        parts = self.queries_keys_values(self.norms[0](z)).reshape(n, t, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(3)
        heads = a @ v
        z = z + self.output(heads.transpose(1, 2).reshape(n, t, width))
        z = z + self.perceptron(self.norms[1](z))
        return z, a[:, :, 0, 1:].detach(), heads[:, :, 1:].detach().norm(dim=3)
