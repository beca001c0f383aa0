"""The blocks of a network of ilk or of the diffusers library.

Blocks are counted from 1 in order of execution, and the middle counts as one block, as in Prafulla
Dhariwal and Alex Nichol, 2021, arXiv 2105.05233, whose ImageNet network has 18 + 1 + 18: each
source of a skip connection is a block of the encoder (the first convolution, each residual block
with its attention, each downsampling), and each block of the decoder consumes one, together with
the upsampling that follows it. So block b of the decoder takes the skip of block `2 * middle - b`.
The blocks of a transformer are its layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.networks.unet import ResidualBlock, UNet


def find_backbone(network: object) -> nn.Module:
    """Return the module that contains the blocks, in `network` or in an object it holds.

    Raises:
        InputError: There is none.
    """
    for module in _iterate_modules(network, 3):
        for part in module.modules():
            if isinstance(part, UNet) or "up_blocks" in part._modules or _get_layers_name(part):
                return part
    raise InputError(
        f"no block can be read from this {type(network).__name__}: it holds neither a U-Net "
        "(down_blocks, mid_block, up_blocks) nor a transformer (transformer_blocks or layers)"
    )


def _iterate_modules(owner: object, depth: int) -> Iterator[nn.Module]:
    """Yield the modules in `owner`: itself, its attributes, the closure of a function."""
    if isinstance(owner, nn.Module):
        yield owner
    elif depth and not isinstance(owner, Tensor):
        cells = [cell.cell_contents for cell in getattr(owner, "__closure__", None) or ()]
        for value in (*getattr(owner, "__dict__", {}).values(), *cells):
            yield from _iterate_modules(value, depth - 1)


def _get_layers_name(module: nn.Module) -> str:
    for name in ("transformer_blocks", "layers"):
        if isinstance(module._modules.get(name), nn.ModuleList):
            return name
    return ""


def list_block_names(module: nn.Module) -> tuple[list[str], int]:
    """Return the names of the block modules in order, and the number of the middle block."""
    if isinstance(module, UNet):
        return _list_ilk_blocks(module)
    if "up_blocks" in module._modules:
        return _list_diffusers_blocks(module)
    name = _get_layers_name(module)
    count = len(cast(nn.ModuleList, module._modules[name]))
    return [f"{name}.{i}" for i in range(count)], (count + 1) // 2


def _list_ilk_blocks(unet: UNet) -> tuple[list[str], int]:
    encoder = ["proj_in", *(f"down.{i}" for i in range(len(unet.down)))]
    middle = f"middle.{len(unet.middle) - 1}"
    decoder: list[str] = []
    for i, layer in enumerate(unet.up):
        if not isinstance(layer, ResidualBlock):
            decoder.pop()  # a doubling belongs to the block before it
        decoder.append(f"up.{i}")
    return [*encoder, middle, *decoder], len(encoder) + 1


def _list_diffusers_blocks(unet: nn.Module) -> tuple[list[str], int]:
    """List the blocks of a diffusers U-Net; attention and resampling belong to a residual block."""
    encoder, decoder = ["conv_in"], []
    for i, block in enumerate(cast(Sequence[nn.Module], unet.down_blocks)):
        encoder += _list_residual_blocks(block, f"down_blocks.{i}")
        if downsamplers := block._modules.get("downsamplers"):
            encoder.append(
                f"down_blocks.{i}.downsamplers.{len(cast(nn.ModuleList, downsamplers)) - 1}"
            )
    for i, block in enumerate(cast(Sequence[nn.Module], unet.up_blocks)):
        decoder += _list_residual_blocks(block, f"up_blocks.{i}")
        if upsamplers := block._modules.get("upsamplers"):
            decoder[-1] = f"up_blocks.{i}.upsamplers.{len(cast(nn.ModuleList, upsamplers)) - 1}"
    middle = ["mid_block"] if unet._modules.get("mid_block") is not None else []
    return [*encoder, *middle, *decoder], len(encoder) + 1


def _list_residual_blocks(block: nn.Module, name: str) -> list[str]:
    attentions = block._modules.get("attentions")
    kinds = [
        "attentions"
        if attentions is not None and i < len(cast(nn.ModuleList, attentions))
        else "resnets"
        for i in range(len(cast(nn.ModuleList, block.resnets)))
    ]
    return [f"{name}.{kind}.{i}" for i, kind in enumerate(kinds)]
