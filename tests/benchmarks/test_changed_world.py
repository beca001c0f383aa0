"""The benchmark of distribution shift runs small, and its parts are correct."""

import json

import numpy as np
import pytest

from benchmarks import datasets
from benchmarks.changed_world import domains, targets
from benchmarks.changed_world import run as changed_world
from benchmarks.changed_world.shifted_digits import (
    Tent,
    downscale_to_8,
    make_angle_domains,
    make_rng,
    rotate_images,
    sample_rows,
)
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.core.linear_models import Linear
from ilk.protocols import leave_one_domain_out


def test_small_run_gives_json():
    results = json.loads(json.dumps(changed_world.run(small=True)))
    assert results["left out"] == []
    claims = {claim["entry"] for t in results["tables"] for claim in t["claims"]}
    assert claims == {
        "adanpc-test-time",
        "drm-domain-specific-risk",
        "dann",
        "attentive-waveblock",
    }
    for t in results["tables"]:
        limit = 2 if "distance" in t["metric"] else 1
        assert all(0 <= s["score"]["mean"] <= limit for s in t["scores"])
    fell = results["adaptation"]["digits, angles rising"]
    assert fell["AdaNPC online, minimum over seeds"] > -0.01
    assert fell["AdaNPC at the end, minimum over seeds"] > -0.01


def test_missing_data_is_left_out_and_named(monkeypatch):
    def missing(*_):
        raise Unavailable("no such folder")

    for name in ("read_mnist", "read_usps", "read_pacs"):
        monkeypatch.setattr(datasets, name, missing)
    results = changed_world.run()
    assert results["tables"] == []
    assert [line.split(":")[0] for line in results["left out"]] == [
        "streams",
        "domains",
        "targets",
        "pairs",
    ]


def test_rotation_by_zero_and_by_quarters():
    x = datasets.read_digits().x[:5]
    np.testing.assert_allclose(rotate_images(x, 0.0), x, atol=1e-6)
    quarter = np.rot90(x.reshape(5, 8, 8), axes=(1, 2)).reshape(5, 64)
    np.testing.assert_allclose(rotate_images(x, 90.0), quarter, atol=1e-5)


def test_each_row_has_one_angle():
    data = sample_rows(datasets.read_digits(), 100, make_rng(0))
    turned = make_angle_domains(data, (0.0, 90.0), use_hog=False)
    np.testing.assert_array_equal(np.bincount(turned.domain), [50, 50])
    np.testing.assert_array_equal(turned.y, data.y)
    np.testing.assert_allclose(turned.x[:50], data.x[:50], atol=1e-6)
    np.testing.assert_allclose(turned.x[50:], rotate_images(data.x[50:], 90.0))


def test_mnist_is_downscaled_to_the_format_of_digits():
    x = np.zeros((1, 28, 28), np.float32)
    x[0, 3:14, 3:14] = 1
    small = downscale_to_8(x.reshape(1, 784)).reshape(8, 8)
    assert small[:4, :4].min() == 1
    assert small[4:].max() == small[:, 4:].max() == 0


def test_label_shift_leaves_a_tenth_for_the_high_digits():
    few = targets._make_imbalanced(sample_rows(datasets.read_digits(), 1797, make_rng(0)))
    assert np.mean(few.y < 5) == pytest.approx(0.9, abs=0.01)


def test_entropy_gradient_equals_finite_differences():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((50, 4)) * 3 + 1
    weight, bias = rng.standard_normal((3, 4)), rng.standard_normal(3)
    tent = Tent(Linear.from_arrays(weight, bias), source)
    z = rng.standard_normal((6, 4))
    tent.scale_and_shift = tent.scale_and_shift + 0.1 * rng.standard_normal((2, 4))

    def height():
        p = tent.entropy_gradient(z)[0]
        return -np.mean(np.sum(p * np.log(p), axis=1))

    _, slope = tent.entropy_gradient(z)
    for at in np.ndindex(2, 4):
        tent.scale_and_shift[at] += 1e-6
        up = height()
        tent.scale_and_shift[at] -= 2e-6
        down = height()
        tent.scale_and_shift[at] += 1e-6
        assert slope[at] == pytest.approx((up - down) / 2e-6, abs=1e-6)


def test_entropy_minimisation_starts_as_the_head_and_gets_more_confident():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((50, 4)).astype(np.float32) * 3 + 1
    head = Linear.from_arrays(rng.standard_normal((3, 4)), rng.standard_normal(3))
    tent = Tent(head, source, lr=0.05)
    np.testing.assert_array_equal(tent.predict_and_adapt(source), head.logits(source).argmax(1))
    z = (source - tent.centre) / tent.scale
    before = tent.entropy_gradient(z)[0].max(1).mean()
    for _ in range(20):
        tent.predict_and_adapt(source)
    assert tent.entropy_gradient(z)[0].max(1).mean() > before


def test_two_training_rows_of_the_first_domain_are_kept():
    y, domain = np.arange(40) % 4, np.repeat([0, 1, 2, 3], 10)
    data = Data(np.arange(40.0)[:, None], y, tuple("abcd"), domain=domain)
    step = list(leave_one_domain_out(data))[3]
    kept = domains._keep_two(step, make_rng(0))
    np.testing.assert_array_equal(np.bincount(kept.train.domain), [2, 10, 10])
    np.testing.assert_array_equal(kept.test.x, step.test.x)
    assert (kept.train.x[2:, 0] == np.arange(10, 30)).all()
