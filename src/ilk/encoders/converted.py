"""Networks converted for an inference engine: made once, opened later without importing torch.

That a network cannot be converted is remembered in the same way, since finding out takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ilk.encoders import network_files
from ilk.encoders.engines import Engine, Run
from ilk.encoders.folding import compute_disagreement, make_probe
from ilk.hub.preprocessing import Preprocess

if TYPE_CHECKING:
    from torch.nn import Module

TOLERANCE = 1e-3  # relative to the length of a row of features


class ConversionFailed(Exception):
    """An engine cannot run a network, or gives other features; the message says which."""


def open_converted(
    engine: Engine, key: str, preprocess: Preprocess, build_network: Callable[[], Module]
) -> Run:
    """Open the network of a feature space on an engine; convert it if there is no usable file.

    Args:
        engine: One of `ilk.encoders.engines.ENGINES`.
        key: Key of the feature space: digest of weights, configuration and preprocessing.
        preprocess: The network's preprocessing.
        build_network: Builds it in float32 on the CPU; called only to convert.

    Raises:
        ConversionFailed: The engine cannot run it, or features differ by more than `TOLERANCE`.
    """
    stamp = engine.get_stamp()
    if (found := network_files.read(key, engine.name, stamp)) is not None:
        content, failure = found
        if failure:
            raise ConversionFailed(failure)
        with suppress(Exception):  # an engine may refuse what it once wrote; then it is made again
            return engine.open(content)
    for package in engine.packages:
        if find_spec(package) is None:
            raise ConversionFailed(
                f"{engine.label} needs {package} to convert it: pip install 'ilk[{engine.extra}]'"
            )
    try:
        content, run = _convert(engine, preprocess, build_network())
    except ConversionFailed as error:
        if not isinstance(error.__cause__, OSError | MemoryError):  # those may pass
            network_files.write(key, engine.name, stamp, b"", failure=str(error))
        raise
    network_files.write(key, engine.name, stamp, content)
    return run


def _convert(engine: Engine, preprocess: Preprocess, network: Module) -> tuple[bytes, Run]:
    """Convert a network and compare its features with torch's on a probe."""
    import torch

    network = network.eval().requires_grad_(False)
    probe = preprocess.normalize(make_probe(preprocess.size))
    with torch.inference_mode():
        expected = network(torch.from_numpy(probe)).float().numpy()
    try:
        content = engine.convert(network, preprocess.size)
        run = engine.open(content)
        got = np.concatenate([run(probe), run(probe[:1])])  # batches of two sizes
    except Exception as error:  # whatever the engine, the exporter or a custom operator raises
        lines = [line for line in str(error).splitlines() if line.strip()]
        why = lines[0].strip()[:120] if lines else type(error).__name__
        raise ConversionFailed(f"{engine.label} cannot convert it ({why})") from error
    difference = compute_disagreement(got, np.concatenate([expected, expected[:1]]))
    if not difference <= TOLERANCE:
        raise ConversionFailed(f"{engine.label} gives features that differ by {difference:.1g}")
    return content, run
