"""Make a torch network faster without changing what it computes.

Batch normalization of fixed statistics is a scale and a shift per channel, so it is folded into the
convolution before it: `w' = w g / sqrt(v + eps)`, `b' = (b - m) g / sqrt(v + eps) + beta` (Jacob et
al. 2018, arXiv 1712.05877, section 3.2). Convolutional networks also run with the channels last in
memory. Either is done only where the outputs of a probe batch agree.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

TOLERANCE = 1e-4  # relative to the length of a row of features


def make_probe(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Return pixels `[2, 3, h, w]` that exercise a network: noise, and a soft colour gradient."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, *size), dtype=np.uint8)
    ramps = [np.linspace(0, 255, n) for n in size]
    down, across = np.meshgrid(*ramps, indexing="ij")
    gradient = np.stack([down, across, (down + across) / 2]).astype(np.uint8)
    return np.stack([noise, gradient])


def compute_disagreement(got: Any, expected: Any) -> float:
    """Return the greatest relative distance between rows `[n, d]`; infinite unless all are finite.

    Rows of other shapes disagree too.
    """
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if got.shape != expected.shape or not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("inf")
    lengths = np.maximum(np.linalg.norm(expected, axis=1), np.finfo(np.float32).tiny)
    return float((np.linalg.norm(got - expected, axis=1) / lengths).max())


@dataclass(frozen=True)
class Plan:
    """How to run a network faster: the result of `find_plan`.

    Attributes:
        pairs: Names of convolutions, and of the batch norm that is folded into each.
        channels_last: Whether channels are last in memory.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    channels_last: bool = False

    def to_bytes(self) -> bytes:
        """Return the plan as JSON, for `from_bytes`."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Plan:
        """Read what `to_bytes` returned."""
        values = json.loads(content)
        return cls(tuple((conv, norm) for conv, norm in values["pairs"]), values["channels_last"])

    def apply(self, network: Module) -> Module:
        """Change a network as planned, in place, and return it.

        Raises:
            AttributeError: It is another network: a planned module is missing or of another type.
        """
        import torch
        from torch import nn

        modules = [(network.get_submodule(c), network.get_submodule(n)) for c, n in self.pairs]
        for conv, norm in modules:
            if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                raise AttributeError("the network's modules have different types than planned")
        for (_, norm_name), (conv, norm) in zip(self.pairs, modules, strict=True):
            _fold(conv, norm)
            parent, _, attribute = norm_name.rpartition(".")
            setattr(network.get_submodule(parent), attribute, _get_rest(norm))
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network


def find_plan(network: Module, probe: Tensor) -> Plan:
    """Return the fastest plan that leaves the outputs of a probe as they are.

    A pair is a batch norm whose input is, as an object, the output of a convolution; each of the
    two runs once per image. That the output is used elsewhere too shows in the comparison.

    Args:
        network: In float32 on the CPU, in evaluation mode; it is not changed.
        probe: Normalized images `[n, 3, h, w]` that the outputs are compared on.
    """
    expected = _run(network, probe, channels_last=False)
    pairs = tuple(_find_pairs(network, probe[:1]))
    layouts = (True, False) if is_convolutional(network) else (False,)
    for plan in dict.fromkeys(Plan(p, layout) for p in (pairs, ()) for layout in layouts):
        if plan == Plan():
            break
        changed = plan.apply(copy.deepcopy(network))
        difference = compute_disagreement(_run(changed, probe, plan.channels_last), expected)
        if difference <= TOLERANCE:
            return plan
    return Plan()


def is_convolutional(network: Module) -> bool:
    """Whether the network convolves more than once, unlike one that only cuts out patches."""
    from torch import nn

    sizes = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    return sum(max(size) > 1 for size in sizes) > 1


def _fold(conv: Any, norm: Any) -> None:
    """Fold a batch norm into the weights of a convolution, in place."""
    from torch.nn import Parameter

    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    bias = -norm.running_mean.double() if conv.bias is None else conv.bias - norm.running_mean
    bias = bias.double() * scale
    if norm.bias is not None:
        bias = bias + norm.bias.double()
    conv.weight.detach().mul_(scale.float().reshape(-1, 1, 1, 1))
    conv.bias = Parameter(bias.float().detach(), requires_grad=False)


def _find_pairs(network: Module, probe: Tensor) -> list[tuple[str, str]]:
    """Return the names of convolutions and the batch norms that follow them, from one run."""
    import torch
    from torch import nn

    outputs: dict[int, tuple[str, Tensor]] = {}  # holds the tensors, so that no id is used twice
    calls: Counter[str] = Counter()
    pairs: list[tuple[str, str]] = []

    def watch(name: str, module: Module) -> Any:
        def after(_module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            if isinstance(module, nn.Conv2d):
                outputs[id(output)] = name, output
            elif inputs and id(inputs[0]) in outputs:
                pairs.append((outputs[id(inputs[0])][0], name))

        return module.register_forward_hook(after)

    hooks = [
        watch(name, module)
        for name, module in network.named_modules()
        if name and (isinstance(module, nn.Conv2d) or _is_foldable(module))
    ]
    try:
        with torch.inference_mode():
            network(probe)
    finally:
        for hook in hooks:
            hook.remove()
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]


def _is_foldable(module: Module) -> bool:
    """Whether it is torch's batch norm, or timm's with dropout and activation after it."""
    from torch import nn

    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None:
        return False
    return type(module) is nn.BatchNorm2d or (hasattr(module, "drop") and hasattr(module, "act"))


def _get_rest(norm: Any) -> Module:
    """Return what a batch norm does besides normalizing."""
    from torch import nn

    return nn.Identity() if type(norm) is nn.BatchNorm2d else nn.Sequential(norm.drop, norm.act)


def _run(network: Module, probe: Tensor, channels_last: bool) -> NDArray[np.float32]:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    with torch.inference_mode():
        return np.asarray(network(probe.contiguous(memory_format=layout)).numpy())
