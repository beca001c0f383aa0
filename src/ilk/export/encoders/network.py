"""Networks of torch: preprocessing in our own operators, the network by torch's exporter."""

from __future__ import annotations

from typing import Any

import numpy as np

from ilk.core.errors import InputError, Unavailable
from ilk.encoders.compressed import CompressedEncoder
from ilk.encoders.engines import export_onnx
from ilk.encoders.network import NetworkEncoder
from ilk.export.graphs.graph import OPSET, Expression, Graph
from ilk.export.graphs.picture import Picture, prepare
from ilk.hub.preprocessing import Preprocess

ENCODER = NetworkEncoder
MAX_BYTES = 2**31 - 2**26  # protobuf holds less than 2 GiB in one file


def write_pixels(encoder: NetworkEncoder, picture: Picture) -> Expression:
    """Return prepared images `[n, 3, h, w]` as float64 integers."""
    return prepare(picture, encoder.preprocess)


def write_features(encoder: NetworkEncoder, pixels: Expression) -> Expression:
    """Return features `[n, d]` float32 of prepared images `[n, 3, h, w]`."""
    graph = pixels.graph
    network = graph.networks.get(get_network_key(encoder)) or read_network(encoder)
    return insert_network(graph, network, normalize(pixels, encoder.preprocess))


def get_network_key(encoder: NetworkEncoder) -> str:
    """Return what two encoders share if they have the same network."""
    return repr(sorted(encoder.checkpoint.digest_files().items()))


def normalize(pixels: Expression, preprocess: Preprocess) -> Expression:
    """Return normalized float32 images, step by step as `Preprocess.normalize`."""
    mean, std = (
        np.array(values, np.float32).reshape(1, -1, 1, 1)
        for values in (preprocess.mean, preprocess.std)
    )
    x = pixels.cast(np.float32)
    x = x / np.float32(255) if preprocess.factor is None else x * np.float32(preprocess.factor)
    return (x - mean) / std


def read_network(encoder: NetworkEncoder) -> Any:
    """Return the network as an ONNX model: normalized images `[b, 3, h, w]` to features `[b, d]`.

    Raises:
        InputError: It was used in another precision, is too large for one file, or torch cannot
            export it.
    """
    import onnx

    if encoder.precision != "float32":
        raise InputError(
            f"{encoder.name} was used in {encoder.precision}, and the file would compute in "
            "float32, with different features; fit the model again with --precision float32"
        )
    if isinstance(encoder, CompressedEncoder):
        return onnx.load_from_string(encoder.checkpoint.network.content)
    network = encoder.checkpoint.build_network()
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    if size > MAX_BYTES:
        raise InputError(
            f"the network of {encoder.name} has {size / 2**30:.1f} GiB of weights, and one ONNX "
            "file holds less than 2; fit the model with a smaller encoder"
        )
    content = export_network(encoder.name, network, encoder.preprocess.size)
    return onnx.load_from_string(content)


def export_network(name: str, network: Any, size: tuple[int, int]) -> bytes:
    """Return a network in evaluation mode as the bytes of an ONNX model.

    Raises:
        Unavailable: torch cannot export it.
    """
    try:
        return export_onnx(network.eval().requires_grad_(False), size, OPSET)
    except Exception as error:  # whatever the exporter or a custom operator raises
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise Unavailable(
            f"torch cannot write the network of {name} as ONNX ({lines[0].strip()[:120]}); fit the "
            "model with another encoder, such as efficientnet-lite0"
        ) from error


def insert_network(graph: Graph, model: Any, images: Expression) -> Expression:
    """Append the nodes of a network to a graph, under new names, and return its output."""
    import onnx
    from onnx import compose

    prefix = graph.make_name("network") + "/"
    inner = compose.add_prefix(model, prefix).graph
    [entry], [output] = inner.input, inner.output
    graph.nodes.append(
        onnx.helper.make_node("Identity", [images.name], [entry.name], f"{prefix}entry")
    )
    graph.nodes.extend(inner.node)
    graph.constants.update({tensor.name: tensor for tensor in inner.initializer})
    return Expression(graph, output.name, np.dtype(np.float32))
