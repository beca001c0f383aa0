"""Features of the patches of an image, from the blocks of a network that has such blocks.

A checkpoint offers them by `build_patches(size)`, a network of `ilk.architectures.patch_network`.
It runs as any network does, on torch or on an engine, and its features are stored as any features
are: a row holds all patches of an image.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ilk.core.capabilities import Embeds
from ilk.encoders.network import Checkpoint, NetworkEncoder

if TYPE_CHECKING:
    from ilk.architectures.patch_network import PatchNetwork
    from ilk.hub.preprocessing import Preprocess


VERSION = 2  # to be raised when `ilk.architectures.patch_network` takes other features


@runtime_checkable
class HasBlocks(Protocol):
    """A checkpoint whose network has outputs in the middle."""

    def build_patches(self, size: tuple[int, int]) -> PatchNetwork:
        """Build the network of patches in float32 on the CPU, for inputs of height and width."""
        ...


class PatchCheckpoint:
    """The files of a network, read for its patches."""

    def __init__(self, base: Checkpoint, blocks: HasBlocks, preprocess: Preprocess) -> None:
        self.base, self.blocks, self.folder = base, blocks, base.folder
        self._preprocess = preprocess
        self.family = f"patches of {base.family}, version {VERSION}"

    @property
    def preprocess(self) -> Preprocess:
        return self._preprocess

    @cached_property
    def grid(self) -> tuple[int, int, int]:
        """Rows of patches, columns of patches, features per patch; builds the network."""
        return self.build_network().grid

    @property
    def dim(self) -> int:
        """Number of features of an image: all patches."""
        rows, columns, features = self.grid
        return rows * columns * features

    def digest_files(self) -> dict[str, str]:
        """Return the digests of the files."""
        return self.base.digest_files()

    def build_network(self) -> PatchNetwork:
        """Return the network: normalized `[b, 3, h, w]` to `[b, rows columns c]`."""
        return self.blocks.build_patches(self.preprocess.size)


class PatchEncoder(NetworkEncoder):
    """Patches of images that are resized as the encoder it comes from resizes them."""

    checkpoint: PatchCheckpoint

    @property
    def grid(self) -> tuple[int, int, int]:
        """Rows of patches, columns of patches, features per patch; builds the network once."""
        return self.checkpoint.grid


def open_patches(encoder: Embeds) -> PatchEncoder | None:
    """Return the encoder of the patches of a network; None for encoders without blocks.

    Without are those that are not networks (`pixels`, `hog`), that average views, or whose network
    offers none.
    """
    if not isinstance(encoder, NetworkEncoder) or not isinstance(encoder.checkpoint, HasBlocks):
        return None
    checkpoint = PatchCheckpoint(encoder.checkpoint, encoder.checkpoint, encoder.preprocess)
    name = f"{encoder.name} (patches)"
    return PatchEncoder(name, checkpoint, encoder.device, encoder.runtime, encoder.precision)
