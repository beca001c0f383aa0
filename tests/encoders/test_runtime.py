"""Runtimes: the same features at the same address, and torch where an engine cannot help."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from helpers.noise_images import noise
from helpers.tiny_checkpoints import save_clip, save_timm
from ilk.core import device
from ilk.core.errors import InputError, Unavailable, UnknownName
from ilk.encoders import converted, network_files, resolve_encoder, runtime
from ilk.encoders.engines import ENGINES, OnnxRuntime, OpenVino
from ilk.encoders.folding import compute_disagreement

IMAGES = [noise(90 + 30 * i, 200 - 20 * i, i) for i in range(5)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_timm(tmp_path_factory.mktemp("timm") / "network")


@pytest.fixture(autouse=True)
def own_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    return tmp_path / "networks"


def open_network(folder, name="auto", **options):
    return resolve_encoder(f"local-dir:{folder}", runtime=name, device="cpu", **options)


def embed(encoder):
    return encoder.embed(np.stack([encoder.prepare(image) for image in IMAGES]))


class Fake:
    """An engine that hands the network over as it is, times `factor`."""

    name, label, extra, packages, batch_size = "fake", "Fake", "fake", ("json",), 2

    def __init__(self, factor=1.0, error=None, version="1"):
        self.factor, self.error, self.version, self.n_converted = factor, error, version, 0
        self.network = None

    def get_stamp(self):
        return self.version

    def convert(self, network, size):
        self.n_converted += 1
        if self.error:
            raise self.error
        self.network = network
        return b"a network"

    def open(self, content):
        import torch

        assert content == b"a network"
        return lambda x: self.network(torch.from_numpy(x)).numpy() * np.float32(self.factor)


def use(monkeypatch, *engines):
    monkeypatch.setattr(runtime, "ENGINES", engines)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@pytest.mark.parametrize("kind", ["test_efficientnet", "test_vit", "clip"])
def test_engines_give_the_features_of_torch_at_the_same_address(tmp_path, engine, kind):
    pytest.importorskip(engine.packages[0])
    if kind == "clip":
        name = f"clip/local-dir:{save_clip(tmp_path / 'network', 'clip')}"
    else:
        name = f"local-dir:{save_timm(tmp_path / 'network', kind)}"
    plain = resolve_encoder(name, device="cpu", runtime="torch")
    other = resolve_encoder(name, device="cpu", runtime=engine.name)
    assert other.space == plain.space
    assert compute_disagreement(embed(other), embed(plain)) < 1e-4
    assert (plain.runtime_note, other.runtime_note) == ("torch", engine.label)


def test_auto_takes_the_first_engine_that_is_installed(folder, monkeypatch):
    for engine in ENGINES:
        pytest.importorskip(engine.packages[0])
    assert runtime.list_engines("auto", "float32", "cpu") == list(ENGINES)
    assert runtime.list_engines("torch", "float32", "cpu") == []
    for precision, where in (("bfloat16", "cpu"), ("float32", "cuda")):
        assert runtime.list_engines("auto", precision, where) == []
    monkeypatch.setattr(runtime, "find_spec", lambda name: None if name == "openvino" else True)
    encoder = open_network(folder)
    encoder.load()
    assert encoder.runtime_note == "ONNX Runtime"
    monkeypatch.setattr(runtime, "find_spec", lambda _name: None)
    encoder = open_network(folder)
    encoder.load()
    assert encoder.runtime_note == "torch"


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        (Fake(error=RuntimeError("no such operator\nat line 3")), r"cannot convert it \(no such"),
        (Fake(factor=1.01), "gives features that differ by 0.01"),
        (Fake(factor=float("nan")), "gives features that differ by inf"),
    ],
)
def test_a_network_that_an_engine_cannot_run_runs_on_torch(folder, monkeypatch, engine, says):
    plain = embed(open_network(folder, "torch"))
    use(monkeypatch, engine)
    for _ in range(2):  # the second time it is known without trying
        encoder = open_network(folder)
        np.testing.assert_array_equal(embed(encoder), plain)
        assert encoder.runtime_note.startswith("torch; Fake ")
        assert re.search(says, encoder.runtime_note)
    assert engine.n_converted == 1
    monkeypatch.setattr(runtime, "RUNTIMES", ("fake",))
    with pytest.raises(InputError, match=f"Fake .*{says[:20]}.*use --runtime torch"):
        open_network(folder, "fake").load()


def test_a_failure_that_may_pass_is_not_remembered(folder, monkeypatch):
    engine = Fake(error=OSError("no space left"))
    use(monkeypatch, engine)
    for _ in range(2):
        open_network(folder).load()
    assert engine.n_converted == 2
    engine.packages = ("json", "not_a_package")
    encoder = open_network(folder)
    encoder.load()
    assert "Fake needs not_a_package to convert it: pip install 'ilk[fake]'" in encoder.runtime_note


def test_a_converted_network_is_made_once(folder, monkeypatch, own_networks):
    engine = Fake()
    use(monkeypatch, engine)
    plain = embed(open_network(folder, "torch"))
    for _ in range(2):
        np.testing.assert_allclose(embed(open_network(folder)), plain, rtol=1e-4, atol=1e-4)
    assert engine.n_converted == 1

    (path,) = own_networks.glob("*.fake")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the network itself
    open_network(folder).load()
    assert engine.n_converted == 2
    key = open_network(folder).space.key
    assert network_files.read(key, "fake", "1") == (b"a network", "")
    path.write_bytes(content[:20])
    open_network(folder).load()
    assert engine.n_converted == 3
    engine.version = "2"
    open_network(folder).load()
    open_network(folder).load()
    assert engine.n_converted == 4
    assert not [p for p in own_networks.iterdir() if p.name.endswith(".part")]


def test_without_a_place_to_keep_it_a_network_is_converted_each_time(
    folder, monkeypatch, own_networks
):
    engine = Fake()
    use(monkeypatch, engine)
    own_networks.write_text("a file where the folder should be")
    for _ in range(2):
        encoder = open_network(folder)
        encoder.load()
        assert encoder.runtime_note == "Fake"
    assert engine.n_converted == 2


def test_a_plan_of_other_networks_is_found_again(folder, monkeypatch):
    from ilk.encoders import folding

    found = []
    original = folding.find_plan
    monkeypatch.setattr(folding, "find_plan", lambda *a: found.append(1) or original(*a))
    plain = embed(open_network(folder, "torch"))
    np.testing.assert_array_equal(embed(open_network(folder, "torch")), plain)
    assert len(found) == 1
    encoder = open_network(folder, "torch")
    stale = folding.Plan((("not.there", "nor.this"),), True).to_bytes()
    import torch

    network_files.write(encoder.space.key, "torch", torch.__version__, stale)
    np.testing.assert_array_equal(embed(encoder), plain)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"runtime": "tensorrt"}, UnknownName, "no runtime is called 'tensorrt'; known: auto, "),
        ({"runtime": "channels-last"}, UnknownName, "no runtime is called 'channels-last'"),
        ({"precision": "float16"}, UnknownName, "the nearest are bfloat16, float32"),
        ({"runtime": "openvino", "device": "cuda"}, InputError, "runs on the CPU"),
        ({"runtime": "onnxruntime", "device": "mps"}, InputError, "runs on the CPU, not on 'mps'"),
        ({"runtime": "openvino", "precision": "bfloat16"}, InputError, "gives float32"),
        ({"runtime": "onnxruntime", "precision": "bfloat16"}, InputError, "use --runtime torch"),
        ({"device": "cuda:99"}, Unavailable, "use --device auto or cpu"),
    ],
)
def test_options_that_cannot_be_are_refused_before_any_work(folder, options, kind, says):
    with pytest.raises(kind, match=says):
        resolve_encoder(f"local-dir:{folder}", **options)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_missing_engine_is_named_with_its_command(folder, monkeypatch, engine):
    from ilk.hub import client

    def find(name):
        return None if name == engine.packages[0] else True

    monkeypatch.setattr(client, "find_spec", find)
    says = rf"{engine.name} is not installed; run: pip install 'ilk\[{engine.extra}\]'"
    with pytest.raises(Unavailable, match=says):
        open_network(folder, engine.name)


CODE = """
import sys
import numpy as np
from ilk.encoders import resolve_encoder
encoder = resolve_encoder(sys.argv[1], runtime=sys.argv[2])
features = encoder.embed(np.full((3, 3, 160, 160), 9, np.uint8))
print(encoder.runtime_note, features.shape, sorted({'torch', 'timm'} & set(sys.modules)))
"""


@pytest.mark.parametrize("engine", [OpenVino(), OnnxRuntime()], ids=lambda engine: engine.name)
def test_a_converted_network_needs_no_torch(folder, engine):
    pytest.importorskip(engine.packages[0])
    if device.may_have_gpu():
        pytest.skip("whether torch can use the GPU of this machine, only torch knows")
    open_network(folder, engine.name).load()
    done = subprocess.run(
        [sys.executable, "-c", CODE, f"local-dir:{folder}", engine.name],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stdout.strip() == f"{engine.label} (3, 256) []"


def test_the_message_of_an_engine_that_says_nothing_is_its_type(folder):
    engine, encoder = Fake(error=AssertionError()), open_network(folder, "torch")
    build = encoder.checkpoint.build_network
    with pytest.raises(converted.ConversionFailed, match=r"cannot convert it \(AssertionError\)"):
        converted.open_converted(engine, "0" * 64, encoder.preprocess, build)
