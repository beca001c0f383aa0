"""Settings of `ilk finetune`."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.errors import InputError
from ilk.peft import parse_wrapper

ALL = "all"
DEFAULT_LAYERS = ("2",)
LR_BLOCKS, LR_ALL = 5e-4, 1e-4


@dataclass(frozen=True)
class Variant:
    """What of a network is tuned.

    Attributes:
        layers: Number of its last blocks, or `all`.
        wrapper: The wrapper around them, such as `LoRA(rank=8)`; "" trains their own weights.
    """

    layers: str
    wrapper: str = ""

    def __post_init__(self) -> None:
        if self.layers != ALL and not (self.layers.isdecimal() and 1 <= int(self.layers) <= 10**6):
            raise InputError(
                f"layers (--layers) is {self.layers!r}; give how many of the last blocks are "
                "tuned, such as 2, or all"
            )

    @property
    def n_blocks(self) -> int:
        """How many of the last blocks; more than there are for all."""
        return 10**6 if self.layers == ALL else int(self.layers)

    @property
    def default_lr(self) -> float:
        """Learning rate of the last layer, if none is given."""
        if self.wrapper:
            return parse_wrapper(self.wrapper).learning_rate
        return LR_ALL if self.layers == ALL else LR_BLOCKS


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of a tuned network.

    Attributes:
        layers: Numbers of last blocks to try, or `all`; empty tries `DEFAULT_LAYERS`, or all layers
            for a wrapper. What is kept is chosen on a validation part.
        wrappers: Wrappers to try in place of the blocks' own weights, such as `LoRA(rank=8)`.
        updates: Optimizer updates at most; None is `epochs` passes over the images, within bounds.
        epochs: Passes over the images, if `updates` is None.
        batch_size: Images per update.
        lr: Learning rate of the last layer; None is the variant's own.
        layer_decay: Factor of the learning rate from a layer to the one before it, in (0, 1].
        weight_decay: Decoupled weight decay; wrappers have none.
        flip: Train on mirrored images too.
        shift: Greatest shift of images to each side, as a part of their side, where all layers are
            trained.
        patience: Measures on the validation part without a gain after which training ends.
        seed: Seed of the division of images, and of batches.

    Raises:
        InputError, UnknownName: A value is not supported.
    """

    layers: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    updates: int | None = None
    epochs: int = 4
    batch_size: int = 32
    lr: float | None = None
    layer_decay: float = 0.9
    weight_decay: float = 0.01
    flip: bool = True
    shift: float = 0.06
    patience: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.updates is not None and self.updates < 1:
            raise InputError(f"updates (--updates) is {self.updates}; give at least 1")
        if self.epochs < 1 or self.batch_size < 2:
            raise InputError(
                f"the number of epochs is {self.epochs} and the batch size (--batch-size) "
                f"{self.batch_size}; give at least 1 and 2"
            )
        if not 0 < self.layer_decay <= 1:
            raise InputError(
                f"layer_decay (--layer-decay) is {self.layer_decay}; it must be above 0 and at "
                "most 1"
            )
        if self.lr is not None and not 0 < self.lr < 10:
            raise InputError(
                f"the learning rate (--lr) is {self.lr}; give one above 0 and below 10"
            )
        for wrapper in self.wrappers:
            parse_wrapper(wrapper)
        _ = self.variants

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What is tried, besides the network as it is."""
        if self.wrappers:
            return tuple(Variant(n, w) for w in self.wrappers for n in self.layers or (ALL,))
        return tuple(Variant(n) for n in self.layers or DEFAULT_LAYERS)

    def count_updates(self, n: int) -> int:
        """Return the number of updates for n training images."""
        if self.updates is not None:
            return self.updates
        return min(max(self.epochs * n // self.batch_size, 40), 600)
