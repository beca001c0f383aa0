"""Two vision transformers in one: units are aligned by optimal transport, then weights averaged.

Moritz Imfeld and others, 2024, Transformer Fusion with Optimal Transport, ICLR, arXiv 2310.05719.
Units of two networks with the same function have another order, so that an average of weights is
of units that have nothing to do with each other. Each kind of unit gets a plan T from its
activations on some images (standardized, Euclidean distances divided by the greatest); a layer of
the first network becomes `T_out' W T_in`, with rows that sum to 1, and is averaged with that of the
second.

What flows along the residual connections is a sum of the outputs of all blocks, and each has a
plan. Published (`residual="mean"`): after each sum, the plan is the mean of that of the stream and
that of what is added; q and k have plans of their own. With `residual="shared"` there is one plan
for the stream and one for q and k of a block: with exact plans, which are permutations, the stream
and the perceptrons of the first network then compute what they did, in the order of the second's
units. Units may still go from one attention head to another, as the paper lets them.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ilk.architectures.tiny_vit import TinyViT
from ilk.compression.transport import match, transport
from ilk.core.errors import InputError

RESIDUALS = ("mean", "shared")
MIN_SPREAD = 1e-6  # of a unit, relative to the greatest: below, it says nothing
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class FusionSettings:
    """How units are aligned.

    Attributes:
        regularization: Weight of the entropy of the plans, in units of the greatest distance; 0 is
            exact plans.
        residual: `mean` as published, or `shared`.

    Raises:
        InputError: A value is out of range.
    """

    regularization: float = 0.08
    residual: str = "mean"

    def __post_init__(self) -> None:
        if self.regularization < 0 or self.residual not in RESIDUALS:
            raise InputError(
                f"regularization {self.regularization} must be at least 0, and residual "
                f"{self.residual!r} one of {', '.join(RESIDUALS)}"
            )


def fuse(
    first: TinyViT,
    second: TinyViT,
    images: Tensor,
    settings: FusionSettings = FusionSettings(),
) -> TinyViT:
    """Return the average of two networks after the first is aligned to the second.

    Args:
        first: A network.
        second: Another one of the same shape and classes.
        images: Images `[n, c, h, w]` that the units are compared on; 200 do.
        settings: How.

    Raises:
        InputError: The networks have different shapes.
    """
    return average([align(first, second, images, settings), second])


def average(networks: Sequence[TinyViT]) -> TinyViT:
    """Return a network with the mean of the weights of networks of one shape."""
    mean = copy.deepcopy(networks[0])
    states = [network.state_dict() for network in networks]
    mean.load_state_dict(
        {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}
    )
    return mean


def align(
    first: TinyViT,
    second: TinyViT,
    images: Tensor,
    settings: FusionSettings = FusionSettings(),
) -> TinyViT:
    """Return the first network with units in the place of those of the second that they are like.

    Args:
        first: The network whose units move.
        second: The network whose units stay.
        images: Images `[n, c, h, w]`, as of `fuse`.
        settings: How units are matched.

    Raises:
        InputError: The networks have different shapes.
    """
    if first.config != second.config or first.head.out_features != second.head.out_features:
        raise InputError("the networks have different shapes; fuse networks of one shape")
    plans = find_plans(record(first, images), record(second, images), settings)
    aligned = copy.deepcopy(first)
    depth = len(list(aligned.blocks))
    with torch.no_grad():
        enter = plans["stream 0"]
        _change(aligned.patch_embed.weight, enter, None)
        bias: Any = aligned.patch_embed.bias
        _change(bias, enter, None)
        aligned.position.copy_(_mix(aligned.position, enter, -1))
        for i, block in enumerate(aligned.blocks):
            part: Any = block
            before, middle = plans[f"stream {2 * i}"], plans[f"stream {2 * i + 1}"]
            _change_norm(part.norm1, before)
            _change_norm(part.norm2, middle)
            _change_qkv(part.attn.qkv, [plans[f"{name} {i}"] for name in "qkv"], before)
            _change_linear(part.attn.proj, plans[f"attention {i}"], plans[f"v {i}"])
            _change_linear(part.mlp.fc1, plans[f"hidden {i}"], middle)
            _change_linear(part.mlp.fc2, plans[f"perceptron {i}"], plans[f"hidden {i}"])
        last = plans[f"stream {2 * depth}"]
        _change_norm(aligned.norm, last)
        _change(aligned.head.weight, None, last)
    return aligned


def record(network: TinyViT, images: Tensor) -> dict[str, Matrix]:
    """Return the activations of each kind of unit, `[rows, units]`, over images and tokens."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    hooks = []

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _inputs, output: found[name].append(output)

    for i, block in enumerate(network.blocks):
        part: Any = block
        for name, module in (
            ("qkv", part.attn.qkv),
            ("attention", part.attn.proj),
            ("hidden", part.mlp.fc1),
            ("perceptron", part.mlp.fc2),
        ):
            hooks.append(module.register_forward_hook(keep(f"{name} {i}")))
        hooks.append(block.register_forward_hook(keep(f"after {i}")))
    was_training = network.training
    try:
        with torch.inference_mode():
            found["embedding"].append(network.eval().embed_patches(images))
            network(images)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    rows = {name: torch.cat(parts).flatten(0, 1).double().numpy() for name, parts in found.items()}
    for name in [name for name in rows if name.startswith("qkv")]:
        number = name.split()[1]
        for letter, part in zip("qkv", np.split(rows.pop(name), 3, axis=1), strict=True):
            rows[f"{letter} {number}"] = part
    return rows


def find_plans(
    first: dict[str, Matrix], second: dict[str, Matrix], settings: FusionSettings
) -> dict[str, Matrix]:
    """Return the plan of each kind of unit, `[n, n]`, with rows and columns that sum to 1.

    `stream j` is that of the tokens after j sums; `attention i` and `perceptron i` are those of
    what block i adds.

    Args:
        first: Activations of the network that is aligned.
        second: Activations of the other one.
        settings: How.
    """
    depth = sum(name.startswith("after") for name in first)
    names = [f"{kind} {i}" for i in range(depth) for kind in ("v", "hidden")]
    if settings.residual == "shared":
        stream = ["embedding", *(f"after {i}" for i in range(depth))]
        whole = _plan([first[n] for n in stream], [second[n] for n in stream], settings)
        plans = {f"stream {j}": whole for j in range(2 * depth + 1)}
        for i in range(depth):
            both = [f"q {i}", f"k {i}"]
            joint = _plan([first[n] for n in both], [second[n] for n in both], settings)
            plans |= {f"attention {i}": whole, f"perceptron {i}": whole}
            plans |= dict.fromkeys(both, joint)
    else:
        names += [f"{k} {i}" for i in range(depth) for k in ("q", "k", "attention", "perceptron")]
        plans = {"stream 0": _plan([first["embedding"]], [second["embedding"]], settings)}
    plans |= {name: _plan([first[name]], [second[name]], settings) for name in names}
    if settings.residual == "mean":
        for i in range(depth):
            for j, kind in ((2 * i, "attention"), (2 * i + 1, "perceptron")):
                plans[f"stream {j + 1}"] = (plans[f"stream {j}"] + plans[f"{kind} {i}"]) / 2
    return plans


def _plan(first: list[Matrix], second: list[Matrix], settings: FusionSettings) -> Matrix:
    """Return the plan between the units (columns) of two networks, times their number."""
    cost = compute_distances(np.vstack(first), np.vstack(second))
    r = settings.regularization
    return (transport(cost, r) if r else match(cost)) * len(cost)


def compute_distances(first: Matrix, second: Matrix) -> Matrix:
    """Return distances `[n, m]` of standardized columns, divided by the greatest."""
    a, b = _standardize(first), _standardize(second)
    square = (a**2).sum(0)[:, None] + (b**2).sum(0) - 2 * a.T @ b
    distance = np.sqrt(np.maximum(square, 0))
    greatest = float(distance.max())
    return np.asarray(distance / greatest if greatest else distance)


def _standardize(x: Matrix) -> Matrix:
    spread = x.std(0)
    return np.asarray((x - x.mean(0)) / np.maximum(spread, MIN_SPREAD * max(spread.max(), 1e-300)))


def _mix(values: Tensor, plan: Matrix, axis: int) -> Tensor:
    """Return values whose units along an axis are those of the second network."""
    matrix = torch.from_numpy(plan.T.copy()).to(values)
    mixed: Tensor = torch.tensordot(matrix, values, dims=([1], [axis % values.ndim]))
    return mixed.movedim(0, axis)


def _change(values: Tensor, out: Matrix | None, into: Matrix | None) -> None:
    """Change the units of a weight in place: of axis 0, of axis 1."""
    changed = values if out is None else _mix(values, out, 0)
    values.copy_(changed if into is None else _mix(changed, into, 1))


def _change_linear(layer: Any, out: Matrix, into: Matrix) -> None:
    _change(layer.weight, out, into)
    _change(layer.bias, out, None)


def _change_norm(norm: Any, plan: Matrix) -> None:
    _change(norm.weight, plan, None)
    _change(norm.bias, plan, None)


def _change_qkv(layer: Any, outs: list[Matrix], into: Matrix) -> None:
    """Change a layer whose outputs are q, k and v, each with a plan of its own."""
    for values, plan_into in ((layer.weight, into), (layer.bias, None)):
        for part, out in zip(values.chunk(3), outs, strict=True):
            _change(part, out, plan_into)
