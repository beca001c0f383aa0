import threading

import numpy as np
import pytest

from helpers.noise_images import noise
from ilk.encoders import resolve_encoder


def test_the_first_inference_is_over_before_threads_start(monkeypatch):
    """Its bindings initialize themselves on first use, in which two threads can deadlock."""
    openvino = pytest.importorskip("openvino")
    threads = []
    create = openvino.CompiledModel.create_infer_request

    def note(self):
        threads.append(threading.current_thread())
        return create(self)

    monkeypatch.setattr(openvino.CompiledModel, "create_infer_request", note)
    encoder = resolve_encoder("efficientnet-lite0", runtime="openvino")
    encoder.load()
    assert threading.main_thread() in threads
    batch = np.stack([encoder.prepare(noise(30, 40, 0))])
    found = []
    other = threading.Thread(target=lambda: found.append(encoder.embed(batch)))
    other.start()
    other.join(60)
    assert found[0].shape == (1, 1280)
