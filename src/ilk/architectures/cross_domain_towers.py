"""Two towers for pairs of images of two domains, such as a photo and its sketch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class CrossDomainTowers(nn.Module):
    """A tower per domain, into one space of unit vectors.

    Args:
        gallery_tower: What is searched, such as photos: `[n, split, ...]` to `[n, e]`.
        query_tower: What is asked with, such as sketches: the other channels to `[n, e]`.
        split: Channels (or features) of a pair that belong to the first domain.
    """

    def __init__(self, gallery_tower: nn.Module, query_tower: nn.Module, split: int) -> None:
        super().__init__()
        self.gallery_tower, self.query_tower, self.split = gallery_tower, query_tower, split

    def embed_gallery(self, x: Tensor) -> Tensor:
        """Return unit vectors `[n, e]` of images of the first domain."""
        return functional.normalize(self.gallery_tower(x), dim=1)

    def embed_queries(self, x: Tensor) -> Tensor:
        """Return unit vectors `[n, e]` of images of the second domain."""
        return functional.normalize(self.query_tower(x), dim=1)

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries and gallery, `[n, e]` each, of pairs `[n, c, ...]` joined by channels."""
        first, second = pairs[:, : self.split], pairs[:, self.split :]
        return self.embed_queries(second), self.embed_gallery(first)

    @classmethod
    def make_example(cls, d: int, k: int) -> CrossDomainTowers:
        """Return towers for pairs of `d` features, half of them of each domain."""
        half = d // 2
        return cls(nn.Linear(half, 8), nn.Linear(d - half, 8), half)
