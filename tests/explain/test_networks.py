"""Explainers that open the network: completeness, layers, attention; on real architectures."""

from importlib.util import find_spec

import numpy as np
import pytest

from helpers.planted_classifier import RED, ColourNetwork, draw_image, make_classifier, make_encoder
from helpers.tiny_checkpoints import save_timm
from ilk.core.errors import Unavailable
from ilk.core.linear_models import Linear
from ilk.encoders import resolve_encoder
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.pixels import PixelEncoder
from ilk.encoders.views import ViewEncoder
from ilk.explain.activations import find_grid
from ilk.explain.explainers.attention_rollout import AttentionRollout, roll_out
from ilk.explain.explainers.grad_cam import GradCam
from ilk.explain.explainers.gradient_token import GradientToken
from ilk.explain.explainers.integrated_gradients import IntegratedGradients
from ilk.explain.explainers.rise import Rise, split_half_correlation
from ilk.explain.question import ask
from ilk.explain.randomization import check_randomization, correlate_ranks


def make_head(dim, seed=0):
    rng = np.random.default_rng(seed)
    return Linear(
        (rng.normal(size=(3, dim)) / dim**0.5).astype(np.float32), np.zeros(3, np.float32)
    )


def open_timm(folder, architecture):
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    return resolve_encoder(f"local-dir:{save_timm(folder / architecture, architecture)}")


@pytest.mark.parametrize("fill", ["mean", "blur"])
def test_integrated_gradients_add_up_to_the_change_of_the_log_odds(fill):
    subject, _ = ask(make_classifier(), draw_image(), "red")
    values = IntegratedGradients(64, fill).explain(subject, 0)
    before = subject.answer.log_odds(subject.embed(subject.get_filled(fill)[None]))[0]
    assert values.sum() == pytest.approx(subject.log_odds - before, rel=0.02)


def test_integrated_gradients_add_up_over_views_and_encoders_side_by_side():
    encoder = CombinedEncoder((make_encoder(), ViewEncoder(make_encoder(name="twin"), 2)))
    weight = np.array([[60, 0, 0, 0] * 2, [0, 60, 0, 0] * 2, [0, 0, -1, 0] * 2], np.float32)
    classifier = make_classifier(encoder, model=Linear(weight, np.zeros(3, np.float32)))
    subject, _ = ask(classifier, draw_image(), "red")
    values = IntegratedGradients(64).explain(subject, 0)
    before = subject.answer.log_odds(subject.embed(subject.get_filled("mean")[None]))[0]
    assert values.sum() == pytest.approx(subject.log_odds - before, rel=0.02)
    place = np.unravel_index(values.argmax(), values.shape)
    assert RED[0].start <= place[0] < RED[0].stop


def test_gradient_times_token_of_the_last_layer_adds_up_to_the_logit_of_a_linear_head():
    subject, _ = ask(make_classifier(), draw_image(), "red", "green")
    values = GradientToken(0).explain(subject, 0)
    # The last layer has 24 x 24 places; bilinear enlargement to 48 x 48 keeps the mean.
    expected = subject.log_odds
    assert values.mean() * 24 * 24 == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("explainer", [GradCam(0), GradCam(1), GradientToken(0), GradientToken(1)])
def test_a_layer_is_found_in_every_kind_of_network(tmp_path, architecture, explainer):
    encoder = open_timm(tmp_path, architecture)
    classifier = make_classifier(encoder, model=make_head(encoder.space.dim))
    subject, _ = ask(classifier, draw_image())
    values = explainer.explain(subject, 0)
    assert values.shape == subject.shape
    assert np.isfinite(values).all()


def test_attention_is_class_specific_only_with_gradients(tmp_path):
    encoder = open_timm(tmp_path, "test_vit")
    classifier = make_classifier(encoder, model=make_head(encoder.space.dim))
    maps = {}
    for target in ("red", "green"):
        subject, _ = ask(classifier, draw_image(), target)
        for specific in (True, False):
            maps[target, specific] = AttentionRollout(specific).explain(subject, 0)
    np.testing.assert_allclose(maps["red", False], maps["green", False], atol=1e-6)
    assert correlate_ranks(maps["red", True], maps["green", True]) < 0.98
    assert np.ptp(maps["red", True]) > 0


def test_attention_of_transformers_networks_is_read(tmp_path):
    if find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from helpers.tiny_checkpoints import save_clip

    save_clip(tmp_path / "clip", "clip")
    encoder = resolve_encoder(f"clip/local-dir:{tmp_path / 'clip'}")
    classifier = make_classifier(encoder, model=make_head(encoder.space.dim))
    subject, _ = ask(classifier, draw_image())
    values = AttentionRollout().explain(subject, 0)
    assert values.shape == subject.shape
    assert np.ptp(values) > 0


def test_rollout_of_uniform_attention_is_uniform_and_of_identity_is_identity():
    n = 5
    uniform = np.full((2, n, n), 1 / n, np.float32)
    identity = np.broadcast_to(np.eye(n, dtype=np.float32), (2, n, n))
    np.testing.assert_allclose(roll_out([(identity, uniform)] * 3), np.eye(n), atol=1e-6)
    rolled = roll_out([(uniform, uniform)] * 3)
    np.testing.assert_allclose(rolled.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(rolled, 0.125 * np.eye(n) + 0.875 / n, atol=1e-6)


def test_the_network_of_a_convolutional_encoder_has_no_attention():
    subject, _ = ask(make_classifier(), draw_image())
    with pytest.raises(Unavailable, match="needs a transformer"):
        AttentionRollout().explain(subject, 0)


@pytest.mark.parametrize(
    ("n", "shape", "grid"),
    [(197, (3, 224, 224), (14, 14)), (196, (3, 224, 224), (14, 14)), (49, (3, 56, 56), (7, 7)),
     (17, (3, 32, 32), (4, 4)), (50, (3, 224, 448), None), (201, (3, 224, 224), (14, 14)),
     (3, (3, 224, 224), None)],
)  # fmt: skip
def test_the_grid_of_tokens_is_found_beside_tokens_without_place(n, shape, grid):
    assert find_grid(n, shape) == grid


def test_two_halves_of_enough_masks_agree():
    subject, _ = ask(make_classifier(), draw_image(), "red")
    few = split_half_correlation(Rise(20).explain_halves(subject))
    many = split_half_correlation(Rise(400).explain_halves(subject))
    assert many > 0.8 > few or many > few


def test_rise_has_no_offset_where_nothing_matters():
    grey = draw_image(red=(slice(0, 0), slice(0, 0)), green=None)
    blank, _ = ask(make_classifier(), grey, "red")
    seen, _ = ask(make_classifier(), draw_image(), "red")
    assert np.abs(Rise(200).explain(blank, 0)).max() < 0.1 * Rise(200).explain(seen, 0).max()


def test_a_map_of_edges_fails_the_randomization_check_and_one_of_gradients_passes():
    from dataclasses import dataclass

    from ilk.explain.controls import make_edge_map

    @dataclass(frozen=True)
    class Edges:
        name = "edges"

        def explain(self, subject, seed):
            return make_edge_map(subject.picture)

    subject, _ = ask(make_classifier(), draw_image(), "red")
    check = check_randomization([subject], Edges())
    assert not check.is_passed
    assert "do not trust" in check.sentence
    assert set(check.correlations) == {"head", "network"}
    assert check.correlations["network"] > 0.95


def test_the_head_alone_is_randomized_where_there_is_no_network():
    encoder = PixelEncoder(8, 8, 3)
    classifier = make_classifier(encoder, model=make_head(encoder.space.dim))
    subject, _ = ask(classifier, draw_image())
    check = check_randomization([subject], Rise(100))
    assert set(check.correlations) == {"head"}


def test_parameters_are_mixed_up_from_the_top_and_keep_their_values():
    import torch

    from ilk.explain.randomization import mix_parameters

    first, mixed = ColourNetwork(), mix_parameters(ColourNetwork(), 0)
    for before, after in zip(first.parameters(), mixed.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    assert not torch.equal(first.colours.weight, mixed.colours.weight)
    top = mix_parameters(ColourNetwork(), 0, part=0.3)
    assert torch.equal(first.colours.weight, top.colours.weight)


def test_two_threads_give_the_maps_of_one():
    from concurrent.futures import ThreadPoolExecutor

    classifier = make_classifier()

    def explain(seed):
        subject, _ = ask(classifier, draw_image(seed), "red")
        return GradientToken(0).explain(subject, 0)

    alone = [explain(seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        for one, other in zip(alone, pool.map(explain, range(6)), strict=True):
            np.testing.assert_array_equal(one, other)
