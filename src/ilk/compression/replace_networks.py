"""A classifier's encoder with compressed networks in place of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilk.core.capabilities import Embeds
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.compressed import FAMILY, CompressedEncoder, make_encoder
from ilk.encoders.compressed_folder import CompressedNetwork
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.tuned_files import KeepsTrainingDigests
from ilk.encoders.variants import Variant
from ilk.encoders.views import ViewEncoder
from ilk.export.encoders.network import get_network_key


def replace_networks(
    encoder: Any, models: Mapping[str, Any], settings: Mapping[str, Any], is_int8: bool, home: Path
) -> Embeds:
    """Return the encoder that computes the same features with compressed networks.

    Args:
        encoder: The encoder of a classifier.
        models: ONNX models by `get_network_key`.
        settings: How they were made.
        is_int8: Whether they compute in 8 bits.
        home: The model folder that they will be saved in, for their names.
    """
    if isinstance(encoder, CombinedEncoder):
        parts = [
            replace_networks(part, models, settings, is_int8, home / f"part-{number}")
            for number, part in enumerate(encoder.parts, 1)
        ]
        return CombinedEncoder(tuple(parts))
    if isinstance(encoder, ViewEncoder):
        base = replace_networks(encoder.base, models, settings, is_int8, home)
        return Variant(views=encoder.n_views).open(base)
    if isinstance(encoder, NetworkEncoder):
        return _compress(encoder, models[get_network_key(encoder)], settings, is_int8, home)
    kept: Embeds = encoder
    return kept


def _compress(
    encoder: NetworkEncoder, model: Any, settings: Mapping[str, Any], is_int8: bool, home: Path
) -> CompressedEncoder:
    base = {k: v for k, v in encoder.describe().items() if k != "folder"}
    network = CompressedNetwork(
        model.SerializeToString(),
        encoder.preprocess,
        encoder.space.dim,
        is_int8,
        base,
        settings,
        encoder.trained_on if isinstance(encoder, KeepsTrainingDigests) else None,
    )
    folder = home / "encoder"
    runtime = "auto" if encoder.runtime == "torch" else encoder.runtime
    return make_encoder(f"{FAMILY}:{folder}", folder, network, runtime=runtime)
