"""`ilk finetune --start-from`: what an old version was taught, added to a new one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.striped_images import write_network, write_stripes
from ilk.cli.finetune import command
from ilk.core.errors import InputError
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned_files import pack_digests
from ilk.encoders.tuned_network import TunedNetwork, read_tuned_network, write_tuned_network
from ilk.finetuning.carry_over import carry_over

FAST = ["--updates", "8", "--batch-size", "16", "--runtime", "torch", "--layers", "1"]


def finetune(*args: object) -> None:
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned network, its base beside it as `v1`, and another version of that as `v2`."""
    home = tmp_path_factory.mktemp("versions")
    first = write_network(home / "v1")
    found = read_tuned_network(home / "v1")
    rng = np.random.default_rng(0)
    moved = {n: a + 0.01 * rng.normal(size=a.shape).astype(a.dtype) if a.dtype.kind == "f" else a
             for n, a in found.arrays.items()}  # fmt: skip
    write_tuned_network(home / "v2", replace(found, arrays=moved))
    base = resolve_encoder(first, runtime="torch")
    last = [name for name in found.arrays if name.endswith(".weight")][-2:]
    tuned = {n: found.arrays[n] + rng.normal(size=found.arrays[n].shape).astype("f4") for n in last}
    known = pack_digests([hashlib.sha256(b"an image").hexdigest()])
    network = TunedNetwork(
        "network", found.preprocess, found.width, tuned, base.describe(), tuned="two arrays",
        classes=("a", "b"), trained_on=known,
    )  # fmt: skip
    write_tuned_network(home / "old", network)
    return home


def read_state(name: Path) -> dict[str, np.ndarray]:
    network = resolve_encoder(f"tuned:{name}", runtime="torch").checkpoint.build_network()
    return {n: v.numpy() for n, v in network.state_dict().items()}


def test_the_difference_is_added_to_the_new_version(old: Path, tmp_path: Path) -> None:
    stripes = write_stripes(tmp_path / "d", seed=2)
    out = tmp_path / "out"
    finetune(stripes, "--encoder", f"tuned:{old / 'v2'}", "--start-from", f"tuned:{old / 'old'}",
             "--out", out, *FAST, "--lr", "1e-9")  # fmt: skip
    v1, v2, tuned, ours = (read_state(p) for p in (old / "v1", old / "v2", old / "old", out))
    changed = [n for n in v1 if not np.array_equal(v1[n], tuned[n])]
    assert changed
    for name, value in ours.items():
        assert np.allclose(value, v2[name] + tuned[name] - v1[name], atol=1e-6)
    found = read_tuned_network(out)
    assert found.base is not None
    assert found.base["name"] == f"tuned:{old / 'v2'}"
    assert set(found.arrays) == set(changed)
    before = {row.tobytes() for row in read_tuned_network(old / "old").trained_on}
    assert before <= {row.tobytes() for row in found.trained_on}  # ilk fit judges on none of them


def test_a_network_tuned_from_there_stands_on_the_new_version(old: Path, tmp_path: Path) -> None:
    stripes = write_stripes(tmp_path / "d", seed=2)
    out = tmp_path / "out"
    finetune(stripes, "--encoder", f"tuned:{old / 'v2'}", "--start-from", f"tuned:{old / 'old'}",
             "--out", out, *FAST, "--force")  # fmt: skip
    found = read_tuned_network(out)
    assert found.base is not None
    assert found.base["name"] == f"tuned:{old / 'v2'}"
    assert len(found.trained_on) > len(read_tuned_network(old / "old").trained_on)
    before = {row.tobytes() for row in read_tuned_network(old / "old").trained_on}
    assert before < {row.tobytes() for row in found.trained_on}
    assert resolve_encoder(f"tuned:{out}").space.dim == found.width


def test_what_is_no_tuned_network_is_refused(old: Path, tmp_path: Path) -> None:
    new = resolve_encoder(f"tuned:{old / 'v2'}", runtime="torch")
    with pytest.raises(InputError, match="is none"):
        carry_over(new, new, tmp_path)  # a student, which was tuned from nothing
    with pytest.raises(InputError, match="--peft"):
        finetune(write_stripes(tmp_path / "d"), "--encoder", new.name, "--out", tmp_path / "o",
                 "--start-from", f"tuned:{old / 'old'}", "--peft", "BitFit")  # fmt: skip
