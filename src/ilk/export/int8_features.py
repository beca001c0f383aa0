"""Features of a classifier's encoder whose networks are replaced by others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.data import Features
from ilk.core.progress import Progress, silent_progress
from ilk.core.threaded_map import map_threaded
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.views import ViewEncoder, average_views
from ilk.export.check_images import CheckImages
from ilk.export.encoders.network import get_network_key
from ilk.export.quantize import BATCH_SIZE, run_session
from ilk.export.session import open_session


def list_networks(encoder: Any) -> list[NetworkEncoder]:
    """Return the encoders with a network that an encoder is made of, each network once."""
    if isinstance(encoder, CombinedEncoder):
        found = [network for part in encoder.parts for network in list_networks(part)]
        return list({get_network_key(network): network for network in found}.values())
    if isinstance(encoder, ViewEncoder):
        return list_networks(encoder.base)
    return [encoder] if isinstance(encoder, NetworkEncoder) else []


def normalize_images(
    encoder: NetworkEncoder, images: CheckImages, index: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Return images as batches that the network takes, `[b, 3, h, w]` each."""
    batches = []
    for start in range(0, len(index), BATCH_SIZE):
        part = index[start : start + BATCH_SIZE]
        pixels = [encoder.prepare(Image.fromarray(images.decode(i))) for i in part]
        batches.append(encoder.preprocess.normalize(np.stack(pixels)))
    return batches


def embed_images(
    encoder: Any,
    images: CheckImages,
    networks: Mapping[str, Any],
    progress: Progress = silent_progress,
) -> Features:
    """Return features `[n, d]` of images, with the networks in `networks` by key."""
    sessions = {key: open_session(model.SerializeToString()) for key, model in networks.items()}

    def embed(start: int) -> Features:
        index = range(start, min(start + BATCH_SIZE, len(images)))
        return _embed(encoder, [Image.fromarray(images.decode(i)) for i in index], sessions)

    blocks = []
    with progress("running the changed network", len(images)) as advance:
        starts = range(0, len(images), BATCH_SIZE)
        for block in map_threaded(embed, starts, lambda _n: None, batch_size=1):
            blocks.append(block)
            advance(len(block))
    return np.concatenate(blocks)


def _embed(encoder: Any, pictures: list[Image.Image], sessions: Mapping[str, Any]) -> Features:
    if isinstance(encoder, CombinedEncoder):
        return np.hstack([_embed(part, pictures, sessions) for part in encoder.parts])
    prepared = np.stack([encoder.prepare(picture) for picture in pictures])
    if isinstance(encoder, ViewEncoder) and list_networks(encoder):
        base, v = encoder.base, encoder.n_views
        assert isinstance(base, NetworkEncoder)
        pixels = prepared.reshape(len(pictures) * v, -1, *prepared.shape[2:])
        session = sessions[get_network_key(base)]
        views = run_session(session, base.preprocess.normalize(pixels))
        return average_views(views.reshape(len(pictures), v, -1))
    if isinstance(encoder, NetworkEncoder):
        session = sessions[get_network_key(encoder)]
        return run_session(session, encoder.preprocess.normalize(prepared))
    features: Features = encoder.embed(prepared)
    return features
