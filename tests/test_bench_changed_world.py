"""The benchmark of changed worlds runs small, and its pieces do what they say."""

import json

import numpy as np
import pytest

from ilk.bench import _changed_targets, _sets, changed_world
from ilk.bench._worlds import EntropyMinimiser, draw, drawn, eighth, many_angles, turned
from ilk.errors import Unavailable
from ilk.models import Linear


def test_it_runs_small_and_gives_json():
    told = json.loads(json.dumps(changed_world.run(small=True)))
    assert told["left out"] == []
    claims = {claim["row"] for t in told["tables"] for claim in t["claims"]}
    assert claims == {
        "adanpc-test-time",
        "drm-domain-specific-risk",
        "dann",
        "attentive-waveblock",
    }
    for t in told["tables"]:
        limit = 2 if "distance" in t["metric"] else 1
        assert all(0 <= s["score"]["mean"] <= limit for s in t["scores"])
    fell = told["adaptation"]["digits, angles rising"]
    assert fell["AdaNPC online, least over seeds"] > -0.01
    assert fell["AdaNPC at the end, least over seeds"] > -0.01


def test_what_is_not_here_is_left_out_and_named(monkeypatch):
    def missing(*_):
        raise Unavailable("no such folder")

    for name in ("mnist", "usps", "pacs"):
        monkeypatch.setattr(_sets, name, missing)
    told = changed_world.run()
    assert told["tables"] == []
    assert [line.split(":")[0] for line in told["left out"]] == [
        "streams",
        "domains",
        "targets",
        "pairs",
    ]


def test_turns_keep_the_image_and_four_quarters_are_none():
    x = _sets.digits().x[:5]
    np.testing.assert_allclose(turned(x, 0.0), x, atol=1e-6)
    quarter = np.rot90(x.reshape(5, 8, 8), axes=(1, 2)).reshape(5, 64)
    np.testing.assert_allclose(turned(x, 90.0), quarter, atol=1e-5)


def test_each_row_stands_at_one_angle_only():
    data = drawn(_sets.digits(), 100, draw(0))
    made = many_angles(data, (0.0, 90.0), features=False)
    np.testing.assert_array_equal(np.bincount(made.domain), [50, 50])
    np.testing.assert_array_equal(made.y, data.y)
    np.testing.assert_allclose(made.x[:50], data.x[:50], atol=1e-6)
    np.testing.assert_allclose(made.x[50:], turned(data.x[50:], 90.0))


def test_mnist_becomes_as_small_as_digits_are():
    x = np.zeros((1, 28, 28), np.float32)
    x[0, 3:14, 3:14] = 1
    small = eighth(x.reshape(1, 784)).reshape(8, 8)
    assert small[:4, :4].min() == 1
    assert small[4:].max() == small[:, 4:].max() == 0


def test_label_shift_leaves_a_tenth_for_the_high_digits():
    few = _changed_targets._lopsided(drawn(_sets.digits(), 1797, draw(0)))
    assert np.mean(few.y < 5) == pytest.approx(0.9, abs=0.01)


def test_the_slope_of_the_entropy_is_that_of_its_differences():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((50, 4)) * 3 + 1
    weight, bias = rng.standard_normal((3, 4)), rng.standard_normal(3)
    tent = EntropyMinimiser(Linear.of(weight, bias), source)
    z = rng.standard_normal((6, 4))
    tent.theta = tent.theta + 0.1 * rng.standard_normal((2, 4))

    def height():
        p = tent.entropy(z)[0]
        return -np.mean(np.sum(p * np.log(p), axis=1))

    _, slope = tent.entropy(z)
    for at in np.ndindex(2, 4):
        tent.theta[at] += 1e-6
        up = height()
        tent.theta[at] -= 2e-6
        down = height()
        tent.theta[at] += 1e-6
        assert slope[at] == pytest.approx((up - down) / 2e-6, abs=1e-6)


def test_entropy_minimisation_starts_as_the_head_and_grows_surer():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((50, 4)).astype(np.float32) * 3 + 1
    head = Linear.of(rng.standard_normal((3, 4)), rng.standard_normal(3))
    tent = EntropyMinimiser(head, source, rate=0.05)
    np.testing.assert_array_equal(tent.answer(source), head.logits(source).argmax(1))
    z = (source - tent.centre) / tent.scale
    before = tent.entropy(z)[0].max(1).mean()
    for _ in range(20):
        tent.answer(source)
    assert tent.entropy(z)[0].max(1).mean() > before
