"""Where the blocks of a network are: ours, or one of the diffusers library.

Blocks are counted from 1 in the order in which they run, and the middle counts as one block, as in
Prafulla Dhariwal and Alex Nichol, 2021, arXiv 2105.05233, whose ImageNet network has 18 + 1 + 18:
whatever leaves a skip connection is a block of the encoder (the entry, each residual block with its
attention, each halving), and each block of the decoder takes one of them back, with the doubling
that follows it, if any. So the decoder's block b takes the skip of block `2 * middle - b`. A
transformer has its layers for blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from torch import Tensor, nn

from ilk.diffusion.unet import Block, UNet
from ilk.errors import InputError


def trunk(network: object) -> nn.Module:
    """The module with the blocks, in `network` or in what it holds.

    Raises:
        InputError: There is none.
    """
    for module in _held(network, 3):
        for part in module.modules():
            if isinstance(part, UNet) or "up_blocks" in part._modules or _layers(part):
                return part
    raise InputError(
        f"no block can be read from this {type(network).__name__}: it holds neither a U-Net "
        "(down_blocks, mid_block, up_blocks) nor a transformer (transformer_blocks or layers)"
    )


def _held(owner: object, depth: int) -> Iterator[nn.Module]:
    """Modules in `owner`: itself, its attributes, what a function closes over."""
    if isinstance(owner, nn.Module):
        yield owner
    elif depth and not isinstance(owner, Tensor):
        cells = [cell.cell_contents for cell in getattr(owner, "__closure__", None) or ()]
        for value in (*getattr(owner, "__dict__", {}).values(), *cells):
            yield from _held(value, depth - 1)


def _layers(module: nn.Module) -> str:
    for name in ("transformer_blocks", "layers"):
        if isinstance(module._modules.get(name), nn.ModuleList):
            return name
    return ""


def laid_out(module: nn.Module) -> tuple[list[str], int]:
    """Names of the modules whose outputs are the blocks, in order, and the middle's number."""
    if isinstance(module, UNet):
        return _ours(module)
    if "up_blocks" in module._modules:
        return _theirs(module)
    name = _layers(module)
    count = len(cast(nn.ModuleList, module._modules[name]))
    return [f"{name}.{i}" for i in range(count)], (count + 1) // 2


def _ours(unet: UNet) -> tuple[list[str], int]:
    encoder = ["entry", *(f"down.{i}" for i in range(len(unet.down)))]
    middle = f"middle.{len(unet.middle) - 1}"
    decoder: list[str] = []
    for i, layer in enumerate(unet.up):
        if not isinstance(layer, Block):
            decoder.pop()  # a doubling belongs to the block before it
        decoder.append(f"up.{i}")
    return [*encoder, middle, *decoder], len(encoder) + 1


def _theirs(unet: nn.Module) -> tuple[list[str], int]:
    """Of the diffusers library: attention and resampling belong to their residual block."""
    encoder, decoder = ["conv_in"], []
    for i, block in enumerate(cast(Sequence[nn.Module], unet.down_blocks)):
        encoder += _residual(block, f"down_blocks.{i}")
        if halving := block._modules.get("downsamplers"):
            encoder.append(f"down_blocks.{i}.downsamplers.{len(cast(nn.ModuleList, halving)) - 1}")
    for i, block in enumerate(cast(Sequence[nn.Module], unet.up_blocks)):
        decoder += _residual(block, f"up_blocks.{i}")
        if doubling := block._modules.get("upsamplers"):
            decoder[-1] = f"up_blocks.{i}.upsamplers.{len(cast(nn.ModuleList, doubling)) - 1}"
    middle = ["mid_block"] if unet._modules.get("mid_block") is not None else []
    return [*encoder, *middle, *decoder], len(encoder) + 1


def _residual(block: nn.Module, name: str) -> list[str]:
    looked = block._modules.get("attentions")
    kinds = [
        "attentions" if looked is not None and i < len(cast(nn.ModuleList, looked)) else "resnets"
        for i in range(len(cast(nn.ModuleList, block.resnets)))
    ]
    return [f"{name}.{kind}.{i}" for i, kind in enumerate(kinds)]
