"""Two towers: images and captions in one space of unit vectors, small enough to train anywhere.

Alec Radford and others, 2021, Learning Transferable Visual Models From Natural Language
Supervision, arXiv 2103.00020. The image tower is two strided convolutions, the caption tower one
transformer layer over words, or the sum of word vectors, which cannot know their order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 16


class ImageTower(nn.Module):
    """Two strided convolutions and a linear layer.

    Args:
        shape: Channels, height and width of the images; height and width divisible by 2.
        width: Length of the embeddings.
    """

    def __init__(self, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        channels, height, side = shape
        self.first = nn.Conv2d(channels, CHANNELS, 5, 2, 2)
        self.second = nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, 2, 1)
        places = -(-height // 4) * -(-side // 4)
        self.project = nn.Linear(2 * CHANNELS * places, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings `[n, e]`, not normalized, of images `[n, c, h, w]`."""
        z = functional.relu(self.second(functional.relu(self.first(x))))
        return self.project(z.flatten(1))  # type: ignore[no-any-return]


class CaptionTower(nn.Module):
    """Word vectors with places, and one transformer layer unless order is to be ignored.

    Args:
        words: Number of words.
        length: Words per caption.
        width: Length of word vectors and embeddings, divisible by 4.
        knows_order: False for the mean of word vectors, a bag of words.
    """

    def __init__(self, words: int, length: int, width: int, knows_order: bool = True) -> None:
        super().__init__()
        self.knows_order = knows_order
        self.words = nn.Embedding(words, width)
        self.project = nn.Linear(width, width)
        if knows_order:
            self.place = nn.Parameter(0.1 * torch.randn(1, length, width))
            self.layer = nn.TransformerEncoderLayer(
                width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
            )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return embeddings `[n, e]`, not normalized, of captions `[n, length]` int64."""
        z = self.words(tokens)
        if self.knows_order:
            z = self.layer(z + self.place)
        return self.project(z.mean(1))  # type: ignore[no-any-return]


class TwoTowers(nn.Module):
    """An image tower, a caption tower, and the table of all captions.

    Args:
        image_tower: Images to embeddings `[n, e]`.
        caption_tower: Captions `[n, length]` to embeddings `[n, e]`.
        captions: Every caption as words, `[m, length]` int64; a label is a row of it.
    """

    captions: Tensor

    def __init__(self, image_tower: nn.Module, caption_tower: nn.Module, captions: Tensor) -> None:
        super().__init__()
        self.image_tower, self.caption_tower = image_tower, caption_tower
        self.register_buffer("captions", captions)

    def embed_images(self, x: Tensor) -> Tensor:
        """Return unit vectors `[n, e]` of images."""
        return functional.normalize(self.image_tower(x), dim=1)

    def embed_captions(self, labels: Tensor) -> Tensor:
        """Return unit vectors `[n, e]` of rows `labels [n]` of the table of captions."""
        return functional.normalize(self.caption_tower(self.captions[labels]), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the cosine of every image with every caption of the table, `[n, m]`."""
        every = torch.arange(len(self.captions), device=x.device)
        return self.embed_images(x) @ self.embed_captions(every).T

    @classmethod
    def make_example(cls, d: int, k: int) -> TwoTowers:
        """Return towers of `d` features and `k` captions of one word each."""
        captions = torch.arange(k)[:, None]
        return cls(nn.Linear(d, 8), CaptionTower(k, 1, 8, knows_order=False), captions)
