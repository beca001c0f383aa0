"""Selective state-space blocks (Mamba) over the rows of a picture, in plain PyTorch.

Albert Gu, Tri Dao, 2023, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, arXiv
2312.00752, section 3; as students in arXiv 2503.01727. A block maps tokens `[n, l, d]` to the same
shape, each from itself and those before it:

    u, z = W x                              two branches of E = 2 d channels
    u    = SiLU(causal depth-wise convolution over 4 tokens of u)
    D_t, B_t, C_t = softplus(W u), W u, W u step of each channel; input and output of N states
    h_t  = exp(D_t A) h_(t-1) + D_t B_t u_t,   A = -exp(a) < 0, a starts at log 1 ... log N
    y_t  = C_t h_t + s u_t
    x    = x + W (y SiLU(z))

A picture is read as one token per row of pixels, from the top; larger ones are pooled first. The
mean over tokens is the feature of the head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import UnknownName
from ilk.core.student_images import check_images, convert_channels, read_sides

STUDENTS = ("mamba-15k", "mamba-100k")  # read without importing this file
SIZES = {"mamba-15k": (32, 1), "mamba-100k": (64, 3)}  # channels and blocks
CONVOLUTION = 4  # tokens
STEP_RANGE = (1e-3, 1e-1)  # of D_t at the start
MIN_SIDE, MAX_TOKENS = 8, 32


class _Scan(torch.autograd.Function):
    """`scan_in_order`, whose gradient is the same recurrence from the end."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor) -> Tensor:
        states = torch.empty_like(drive)
        states[:, 0] = drive[:, 0]
        for t in range(1, drive.shape[1]):
            torch.addcmul(drive[:, t], decay[:, t], states[:, t - 1], out=states[:, t])
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = ctx.saved_tensors
        drive = torch.empty_like(states)
        drive[:, -1] = gradient[:, -1]
        for t in range(drive.shape[1] - 1, 0, -1):
            torch.addcmul(gradient[:, t - 1], decay[:, t], drive[:, t], out=drive[:, t - 1])
        by_decay = torch.zeros_like(states)
        torch.mul(drive[:, 1:], states[:, :-1], out=by_decay[:, 1:])
        return by_decay, drive


def scan_in_order(decay: Tensor, drive: Tensor) -> Tensor:
    """Return every state of `h_t = decay_t h_(t-1) + drive_t` with `h_0 = 0`, one after the other.

    Args:
        decay: `[n, l, ...]`.
        drive: `[n, l, ...]`, the same shape.
    """
    if torch.is_grad_enabled():
        states: Tensor = _Scan.apply(decay, drive)  # type: ignore[no-untyped-call]
        return states
    state, found = drive[:, 0], [drive[:, 0]]  # plain operators, which can be traced
    for t in range(1, drive.shape[1]):
        state = drive[:, t] + decay[:, t] * state
        found.append(state)
    return torch.stack(found, 1)


def scan_by_doubling(decay: Tensor, drive: Tensor) -> Tensor:
    """Return what `scan_in_order` does, in `log2 l` rounds over all positions at once.

    Two neighbouring spans `(a, b)` and `(a', b')` compose to `(a a', a' b + b')`; round r composes
    each position with the one `2^r` before it (Hillis and Steele, 1986).

    Args:
        decay, drive: `[n, l, ...]`, the same shape.
    """
    length, reach = drive.shape[1], 1
    while reach < length:
        earlier = drive[:, :-reach]
        drive = torch.cat([drive[:, :reach], drive[:, reach:] + decay[:, reach:] * earlier], 1)
        decay = torch.cat([decay[:, :reach], decay[:, reach:] * decay[:, :-reach]], 1)
        reach *= 2
    return drive


class MambaBlock(nn.Module):
    """One block, with layer normalization before it and a shortcut around it.

    Args:
        width: d, channels of a token.
        n_states: N, states of each inner channel.
    """

    def __init__(self, width: int, n_states: int = 8) -> None:
        super().__init__()
        inner, rank = 2 * width, max(1, width // 16)
        self.sizes = (rank, n_states, n_states)
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, 2 * inner, bias=False)
        self.convolution = nn.Conv1d(inner, inner, CONVOLUTION, groups=inner)
        self.select = nn.Linear(inner, sum(self.sizes), bias=False)
        self.step = nn.Linear(rank, inner)
        self.log_decay = nn.Parameter(
            torch.arange(1.0, n_states + 1).log().expand(inner, n_states).clone()
        )
        self.skip = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, width, bias=False)
        low, high = map(math.log, STEP_RANGE)
        steps = (low + (high - low) * torch.rand(inner)).exp()
        with torch.no_grad():
            self.step.bias.copy_(steps + (-(-steps).expm1()).log())  # inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens `[n, l, d]` of tokens `[n, l, d]`."""
        u, gate = self.into(self.norm(x)).chunk(2, 2)
        padded = functional.pad(u.transpose(1, 2), (CONVOLUTION - 1, 0))
        u = functional.silu(self.convolution(padded).transpose(1, 2))
        y = self.scan(u) * functional.silu(gate)
        tokens: Tensor = x + self.out(y)
        return tokens

    def scan(self, u: Tensor) -> Tensor:
        """Return `y_t = C_t h_t + s u_t` of inner channels `[n, l, E]`, `[n, l, E]`."""
        decay, drive, output = self.make_recurrence(u)
        scan = scan_in_order if u.device.type == "cpu" else scan_by_doubling
        states = scan(decay, drive)  # [n, l, E, N]
        y: Tensor = (states @ output[..., None])[..., 0] + self.skip * u
        return y

    def make_recurrence(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return decay and drive of the states, `[n, l, E, N]`, and C, `[n, l, N]`."""
        rank, into, output = self.select(u).split(self.sizes, 2)
        step = functional.softplus(self.step(rank))  # [n, l, E]
        decay = (step[..., None] * -self.log_decay.exp()).exp()
        return decay, (step * u)[..., None] * into[:, :, None], output


class MambaStudent(nn.Module):
    """Blocks over the rows of a picture, the mean over the rows, and a linear head.

    Args:
        width: Channels of a token.
        n_blocks: Number of blocks, >= 1.
        n_classes: Number of classes.
        channels: 1 for grey images, 3 for colour.
        sides: Height and width of its images in pixels, each at least 8.
        n_states: States of each inner channel.
        seed: Seed of the weights.

    Raises:
        InputError: An image of that size is too small, or there is another number of channels.
    """

    def __init__(
        self,
        width: int,
        n_blocks: int,
        n_classes: int,
        channels: int,
        sides: tuple[int, int],
        n_states: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_images(channels, sides, MIN_SIDE)
        self.channels = channels
        self.pool = math.ceil(max(sides) / MAX_TOKENS)
        rows, columns = (math.ceil(side / self.pool) for side in sides)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(channels * columns, width)
            self.position = nn.Parameter(0.02 * torch.randn(rows, width))
            self.blocks = nn.Sequential(*(MambaBlock(width, n_states) for _ in range(n_blocks)))
            self.norm = nn.LayerNorm(width)
            self.fc = nn.Linear(width, n_classes)

    @property
    def n_features(self) -> int:
        """Number of features that the head reads."""
        return self.fc.in_features

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, f]` of normalized images `[n, c, h, w]`, or of colour images."""
        x = convert_channels(x, self.channels)
        if self.pool > 1:
            x = functional.avg_pool2d(x, self.pool, ceil_mode=True)
        tokens = self.embed(x.transpose(1, 2).flatten(2)) + self.position
        features: Tensor = self.norm(self.blocks(tokens)).mean(1)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]` of normalized images `[n, c, h, w]`."""
        logits: Tensor = self.fc(self.forward_features(x))
        return logits

    def count_multiply_adds(self) -> int:
        """Return the multiply-adds of one image, those of the scan included."""
        rows = len(self.position)
        total = self.embed.weight.numel() * rows + self.fc.weight.numel()
        for module in self.blocks.modules():
            if isinstance(module, MambaBlock):
                layers = (module.into, module.select, module.step, module.out)
                matrices = sum(layer.weight.numel() for layer in layers)
                inner, states = module.log_decay.shape
                scan = inner * states * 5 + inner * 2  # decay, drive (2), state, output; skip, gate
                total += rows * (matrices + inner * CONVOLUTION + scan)
        return int(total)


def make_student(
    name: str, n_classes: int, channels: int, size: int | Sequence[int], seed: int = 0
) -> MambaStudent:
    """Return a student with random weights.

    Args:
        name: `mamba-15k` or `mamba-100k`: how many parameters it has at most, with the head of 10
            classes.
        n_classes: Number of classes.
        channels: 1 for grey images, 3 for colour.
        size: Side of its images in pixels, or height and width.
        seed: Seed of the weights.

    Raises:
        UnknownName: There is no such student.
        InputError: Its images would be too small.
    """
    if name not in SIZES:
        raise UnknownName("student", name, tuple(SIZES))
    return MambaStudent(*SIZES[name], n_classes, channels, read_sides(size), seed=seed)
