"""The encoder whose network is tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilk.core.capabilities import ScoresClasses
from ilk.core.errors import InputError
from ilk.encoders import resolve_encoder
from ilk.encoders.network import NetworkEncoder
from ilk.finetuning.blocks import make_probe
from ilk.finetuning.splitting import Splitter
from ilk.images import Images

if TYPE_CHECKING:
    from torch.nn import Module

EXAMPLES = "efficientnet-lite0, timm/NAME or clip/ORG/NAME"


def open_trainable(name: str, images: Images, device: str, runtime: str) -> NetworkEncoder:
    """Open the encoder whose network is to be tuned.

    Raises:
        InputError: It has no weights that can be trained, or is a classifier itself.
        UnknownName, Unavailable: As `resolve_encoder`.
    """
    base = resolve_encoder(name, images=images, device=device, runtime=runtime)
    if isinstance(base, ScoresClasses):
        raise InputError(
            f"{name} is a classifier itself, whose features are its scores; tune an encoder such "
            f"as {EXAMPLES} (ilk tune tunes a diffusion model)"
        )
    if not isinstance(base, NetworkEncoder) or not base.has_torch_network:
        raise InputError(
            f"{name} has no network whose weights can be trained; tune an encoder such as "
            f"{EXAMPLES}"
        )
    return base


def open_splitter(base: NetworkEncoder, network: Module | None = None) -> Splitter:
    """Return what divides the network of an encoder, or another one of the same input.

    Raises:
        InputError: The network cannot be run on images of its input size.
    """
    network = base.checkpoint.build_network() if network is None else network
    if not any(True for _ in network.parameters()):
        raise InputError(
            f"{base.name} has no network whose weights can be trained; tune an encoder such as "
            f"{EXAMPLES}"
        )
    height, width = base.preprocess.size
    probe = make_probe(base.preprocess)
    try:
        return Splitter(network, probe)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise InputError(
            f"the network of {base.name} does not take images of {width} x {height} pixels "
            f"({line}); choose another encoder, or one with a larger input"
        ) from error
