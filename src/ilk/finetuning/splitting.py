"""Divide a network in front of one of its blocks: what is frozen runs once, the rest is trained.

Nothing needs to be known of the network but the order in which its parts run
(`ilk.finetuning.blocks`). In the front part, everything from the block on is replaced by parts that
compute nothing; in the rest, everything before it is, and the block gets the stored activation in
place of its input. Whether the two together are the network is tested on a probe, so that a cut
across a path around the block is noticed.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.encoders.folding import compute_disagreement
from ilk.finetuning.blocks import Call, list_blocks, trace

TOLERANCE = 1e-4  # relative to the length of a row of features


class Slot:
    """A place for one value per thread; a copy of a network has places of its own."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __deepcopy__(self, memo: dict[int, Any]) -> Slot:
        return memo.setdefault(id(self), Slot())  # type: ignore[no-any-return]

    def put(self, value: Any) -> None:
        """Keep a value."""
        self._local.value = value

    def take(self) -> Any:
        """Return the value that was kept last."""
        return self._local.value


class _Replay:
    """The forward pass of a part that is left out: zeros of the shape of its output.

    Args:
        shape: Shape of its output for `n_rows` images, as `Call.shape`.
        n_rows: That number.
        images: Holds what the present run is given, one row per image.
        catch: Gets the input, if given.
    """

    def __init__(self, shape: Any, n_rows: int, images: Slot, catch: Slot | None = None) -> None:
        self.shape, self.n_rows, self.images = shape, n_rows, images
        self.catch = catch

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.catch is not None:
            self.catch.put(next(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)))
        return self._make(self.shape)

    def _make(self, shape: Any) -> Any:
        if type(shape) in (list, tuple):
            return type(shape)(map(self._make, shape))
        if not isinstance(shape, torch.Size):
            return shape
        x: Tensor = self.images.take()
        return x.new_zeros(1).expand(shape[0] * len(x) // self.n_rows, *shape[1:])


class _LeftOut(nn.Module):
    """Stands in the place of a part that is left out, with its plain attributes but no weights."""

    def __init__(self, part: nn.Module, replay: _Replay | None) -> None:
        super().__init__()
        plain = {k: v for k, v in vars(part).items() if not k.startswith("_") and k != "forward"}
        vars(self).update(plain)
        self.replay = replay

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return zeros in place of the output of the part."""
        assert self.replay is not None, "a part that never ran is not called"
        return self.replay(*args, **kwargs)


class _Inject:
    """A hook that gives a part the value of a slot as its input."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot

    def __call__(self, _part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.slot.take(), *args[1:])


class FrozenPart(nn.Module):
    """The front of a network: normalized images `[b, 3, h, w]` to activations `[b, d]`, flat."""

    def __init__(self, network: nn.Module, calls: Mapping[str, Call], entry: str, n: int) -> None:
        super().__init__()
        self.images, self.caught = Slot(), Slot()
        late = [c.name for c in calls.values() if c.start >= calls[entry].start]
        self.network = _leave_out(network, calls, late, n, self.images, {entry: self.caught})
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return what the block gets for images `[b, 3, h, w]`, `[b, d]`."""
        return self.run(x).flatten(1)

    def run(self, x: Tensor) -> Tensor:
        """Return what the block gets for images `[b, 3, h, w]`, `[b, ...]`."""
        self.images.put(x)
        self.network(x)
        caught: Tensor = self.caught.take()
        return caught


class LatePart(nn.Module):
    """A network from one of its blocks on: activations `[b, ...]` to features `[b, d]`.

    Its network keeps the names of the parts that it has. It stays in evaluation mode, so that batch
    normalization keeps the statistics of the large data set that the network was trained on.

    Args:
        network: The whole network.
        calls: What `trace` returned for it.
        entry: Name of the block's first part; "" trains all, from normalized images on.
        n: Number of images that were traced.
        size: Height and width of the images.
    """

    def __init__(
        self,
        network: nn.Module,
        calls: Mapping[str, Call],
        entry: str,
        n: int,
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.entry, self.size = entry, tuple(size)
        self.images, self.injected = Slot(), Slot()
        start = calls[entry].start if entry else 0
        early = [c.name for c in calls.values() if c.end < start]
        unused = [name for name, _ in network.named_modules() if name and not _runs(name, calls)]
        self.network = _leave_out(network, calls, [*early, *unused], n, self.images, {})
        if entry:
            part = self.network.get_submodule(entry)
            part.register_forward_pre_hook(_Inject(self.injected))
        self.eval()

    def train(self, mode: bool = True) -> LatePart:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return features `[b, d]` of activations, or of images if all is trained, `[b, ...]`."""
        if self.entry:
            self.images.put(x)
            self.injected.put(x)
            x = x.new_zeros(1).expand(len(x), 3, *self.size)
        features: Tensor = self.network(x)
        return features


def _runs(name: str, calls: Mapping[str, Call]) -> bool:
    """Whether a part, or one inside it, or one that it is inside of, ran."""
    parents = (name[:i] for i, letter in enumerate(name) if letter == ".")
    inside = any(other.startswith(f"{name}.") for other in calls)
    return name in calls or inside or any(parent in calls for parent in parents)


def _leave_out(
    network: nn.Module,
    calls: Mapping[str, Call],
    names: Sequence[str],
    n: int,
    images: Slot,
    catch: Mapping[str, Slot],
) -> nn.Module:
    """Return a copy of a network in which parts compute nothing and have no weights."""
    network = copy.deepcopy(network)
    for name in _list_outermost(names):
        call = calls.get(name)
        if call is not None and call.shape is Ellipsis:
            continue  # it runs, on zeros
        parent, _, attribute = name.rpartition(".")
        replay = None if call is None else _Replay(call.shape, n, images, catch.get(name))
        part = _LeftOut(network.get_submodule(name), replay)
        network.get_submodule(parent)._modules[attribute] = part
    return network.eval()


def _list_outermost(names: Sequence[str]) -> Iterator[str]:
    """Yield the names that are not inside another one."""
    chosen = set(names)
    for name in names:
        parents = (name[:i] for i, letter in enumerate(name) if letter == ".")
        if not any(parent in chosen for parent in parents):
            yield name


@dataclass(frozen=True, eq=False)
class SplitNetwork:
    """A network, divided in front of its last blocks.

    Attributes:
        frozen: The front; None where all blocks are trained.
        late: The rest.
        shape: Shape of what lies between, of one image, `[...]`.
        n_trained: Number of blocks of the rest.
        n_blocks: Number of blocks of the network.
    """

    frozen: FrozenPart | None
    late: LatePart
    shape: tuple[int, ...]
    n_trained: int
    n_blocks: int

    def describe(self) -> str:
        """Return what is trained, in words."""
        if self.frozen is None:
            return f"all {self.n_blocks} blocks"
        count = "last block" if self.n_trained == 1 else f"last {self.n_trained} blocks"
        return f"{count} of {self.n_blocks}"


class Splitter:
    """Divides one network in front of any of its blocks.

    Args:
        network: Normalized images `[b, 3, h, w]` to features `[b, d]`; it is not changed.
        probe: Normalized images `[n, 3, h, w]` to run it on.
    """

    def __init__(self, network: nn.Module, probe: Tensor) -> None:
        self.network, self.probe = network.eval(), probe
        self.calls = trace(network, probe)
        self.blocks = list_blocks(network, self.calls)
        with torch.no_grad():
            self.expected = network(probe).numpy()

    def split(self, n_trained: int) -> SplitNetwork:
        """Divide the network in front of its last `n_trained` blocks, all if it has no more.

        In front of more of them, where a path leads around the block.
        """
        size = (self.probe.shape[2], self.probe.shape[3])
        n = len(self.probe)
        for first in range(len(self.blocks) - n_trained, 0, -1):
            entry = self.blocks[first][0]
            if self.calls[entry].count != 1:
                continue
            frozen = FrozenPart(self.network, self.calls, entry, n).requires_grad_(False)
            late = LatePart(self.network, self.calls, entry, n, size)
            with torch.no_grad():
                middle = frozen.run(self.probe)
                got = late(middle)
            if compute_disagreement(got.numpy(), self.expected) <= TOLERANCE:
                keep_reached(late, middle)
                trained = len(self.blocks) - first
                shape = tuple(middle.shape[1:])
                return SplitNetwork(frozen, late, shape, trained, len(self.blocks))
        late = LatePart(self.network, self.calls, "", n, size)
        keep_reached(late, self.probe)
        count = len(self.blocks)
        return SplitNetwork(None, late, tuple(self.probe.shape[1:]), count, count)

    def split_wrapped(
        self, network: nn.Module, plain: SplitNetwork, starts_exactly: bool
    ) -> SplitNetwork:
        """Divide a wrapped copy of the network where the network itself was divided.

        Args:
            network: A copy of the network with a wrapper (`ilk.peft`).
            plain: The network, divided.
            starts_exactly: Whether it still gives the outputs of the network, so that the frozen
                parts are the same.
        """
        from ilk.peft import get_state

        calls = trace(network.eval(), self.probe)
        size, n = (self.probe.shape[2], self.probe.shape[3]), len(self.probe)
        late = LatePart(network, calls, plain.late.entry, n, size)
        frozen = plain.frozen
        if frozen is not None and not starts_exactly:
            frozen = FrozenPart(network, calls, plain.late.entry, n).requires_grad_(False)
        middle = self.probe
        if frozen is not None:
            with torch.no_grad():
                middle = frozen.run(self.probe)
        let_train(late, list(get_state(late.network)), middle)
        if not any(p.requires_grad for p in late.parameters()):
            raise InputError(
                f"the wrapper fits no layer of the {plain.describe()}; tune more blocks "
                "(--layers), or choose another wrapper"
            )
        return replace(plain, frozen=frozen, late=late)


def keep_reached(late: LatePart, x: Tensor) -> None:
    """Let only those parameters train that the features of activations `[n, ...]` depend on."""
    late.requires_grad_(True)
    with torch.enable_grad():
        late(x).square().sum().backward()
    for parameter in late.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None


def let_train(late: LatePart, names: Sequence[str], x: Tensor) -> None:
    """Let only parameters of these names train, and of them those that features depend on."""
    keep_reached(late, x)
    chosen = set(names)
    for name, parameter in late.network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in chosen)
