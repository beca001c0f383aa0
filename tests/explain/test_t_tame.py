"""T-TAME for a classifier: heads, layers, the saved part, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from helpers.planted_classifier import RED, draw_image, make_classifier
from ilk.architectures.attention_maps import AttentionMaps, align_maps
from ilk.artifacts import pack
from ilk.core.attention_maps import AttentionTap, TrainedMaps
from ilk.core.errors import ArtifactError, InputError, Unavailable
from ilk.core.metrics import softmax
from ilk.explain.answer import Answer
from ilk.explain.explainers.t_tame import TTame, compute_maps
from ilk.explain.networks import open_parts
from ilk.explain.question import ask
from ilk.explain.taps import HeadedNetwork, choose_layers, to_maps
from ilk.explain.train_maps import _to_part, train_maps


class Quadratic:
    """A head whose logits are squares of the features."""

    def __init__(self, weight):
        self.weight = weight

    def logits(self, x):
        return (np.asarray(x, np.float64) ** 2) @ self.weight


def make_maps(channels=(4, 4), k=3):
    """Attention maps whose batch statistics are not trivial."""
    torch.manual_seed(0)
    maps = AttentionMaps(channels, k)
    for norm in maps.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.data.uniform_(0.5, 2)
        norm.bias.data.normal_()
    return maps.eval()


def test_the_saved_part_gives_the_maps_of_the_trained_module():
    maps, classifier = make_maps(), make_classifier()
    subject, _ = ask(classifier, draw_image())
    [part] = open_parts(subject, "t-tame")
    layers = ("colours", "smooth")
    saved = _to_part(maps, layers, classifier.encoder.space.key, 9)
    x = torch.from_numpy(part.normalize(subject.prepared[None]))
    headed = HeadedNetwork(part.network, Answer(classifier, 0), layers)
    with torch.no_grad():
        expected = maps(headed.forward_taps(x)[1])[0].numpy()
    np.testing.assert_allclose(compute_maps(part, saved, subject), expected, atol=1e-5)

    weights, description = pack.pack({"attention_maps": saved})
    restored = pack.unpack(weights, description)["attention_maps"]
    assert restored.n_images == 9
    np.testing.assert_array_equal(compute_maps(part, restored, subject), compute_maps(
        part, saved, subject
    ))  # fmt: skip


def test_a_map_is_that_of_the_target_less_that_of_the_contrast():
    classifier = make_classifier()
    saved = _to_part(make_maps(), ("colours", "smooth"), classifier.encoder.space.key, 9)
    classifier = replace(classifier, attention_maps=saved)

    def explain(**question):
        subject, _ = ask(classifier, draw_image(), **question)
        before = subject.n_passes
        values = TTame().explain(subject, 0)
        assert subject.n_passes == before + 1
        return values

    red, green = explain(target="red"), explain(target="green")
    np.testing.assert_allclose(explain(target="red", against="green"), red - green, atol=1e-6)
    assert red.min() > 0
    assert red.max() < 1


@pytest.mark.parametrize("is_linear", [True, False])
def test_gradients_pass_through_any_head(is_linear):
    weight = np.random.default_rng(0).normal(size=(4, 3))
    classifier = make_classifier()
    if not is_linear:
        classifier = make_classifier(model=Quadratic(weight))
    network = HeadedNetwork(nn.Identity(), Answer(classifier, 0))
    x = (1 + torch.rand(5, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    y = torch.tensor([0, 1, 2, 0, 1])
    nn.functional.cross_entropy(network(x), y).backward()

    if is_linear:
        rows = torch.from_numpy(np.array(classifier.model.weight))
        z = x @ rows.T + torch.from_numpy(np.array(classifier.model.bias))
    else:
        z = (x.double() ** 2) @ torch.from_numpy(weight)
    [expected] = torch.autograd.grad(nn.functional.cross_entropy(z, y), x)
    torch.testing.assert_close(x.grad, expected, rtol=2e-3, atol=2e-4)


def test_the_network_with_its_head_answers_as_the_classifier():
    classifier = make_classifier()
    subject, _ = ask(classifier, draw_image())
    [part] = open_parts(subject, "t-tame")
    network = HeadedNetwork(part.network, subject.answer)
    logits = network(torch.from_numpy(part.normalize(subject.prepared[None]))).detach().numpy()
    calibration = classifier.calibration
    z = classifier.model.logits(subject.features[None]) / calibration.temperature
    np.testing.assert_allclose(softmax(logits, axis=1), softmax(z, axis=1), atol=1e-5)


class Stages(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 3, 3, stride, 1), nn.ReLU()) for stride in (2, 1, 2, 1, 1)
        )
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 8, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.blocks(torch.cat([tokens.mean(1, keepdim=True), tokens], 1))[:, 0]


def test_layers_are_the_last_of_each_size_and_then_the_last_ones():
    x = torch.zeros(1, 3, 32, 32)
    assert choose_layers(Stages(), x) == ("blocks.1", "blocks.3", "blocks.4")
    assert choose_layers(Stages(), x, 2) == ("blocks.1", "blocks.4")
    names = choose_layers(Transformer().eval(), x)
    assert names == tuple(f"blocks.layers.{i}" for i in (1, 2, 3))


def test_tokens_become_maps_in_their_order():
    tokens = torch.arange(2 * 17 * 5.0).reshape(2, 17, 5)
    maps = to_maps(tokens, (2, 3, 32, 32))
    assert maps.shape == (2, 5, 4, 4)
    torch.testing.assert_close(maps[1, :, 2, 3], tokens[1, 1 + 2 * 4 + 3])
    assert to_maps(torch.zeros(2, 7), (2, 3, 32, 32)) is None


def test_maps_are_aligned_on_the_finest_grid_of_56_cells_at_most():
    assert align_maps([torch.zeros(1, 2, 7, 7), torch.zeros(1, 3, 14, 14)]).shape == (1, 5, 14, 14)
    assert align_maps([torch.zeros(1, 2, 112, 56)]).shape == (1, 2, 56, 28)


def test_training_is_repeatable_and_leaves_answers_alone():
    classifier = make_classifier()
    images = [draw_image(i, RED if i % 2 else (slice(0, 0),) * 2) for i in range(8)]
    once, again = (train_maps(classifier, images, lambda i: i, steps=3) for _ in range(2))
    for one, other in zip(once.attention_maps.taps, again.attention_maps.taps, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
    x = classifier.encoder.embed(np.stack([classifier.encoder.prepare(i) for i in images]))
    np.testing.assert_array_equal(once.model.logits(x), classifier.model.logits(x))


def test_what_cannot_be_done_is_one_sentence():
    classifier = make_classifier()
    subject, _ = ask(classifier, draw_image())
    with pytest.raises(Unavailable, match="--train-images DIR once"):
        TTame().explain(subject, 0)
    with pytest.raises(InputError, match="3 images are too few"):
        train_maps(classifier, [draw_image()] * 3, lambda i: i)
    saved = _to_part(make_maps(k=2), ("colours", "smooth"), classifier.encoder.space.key, 9)
    other = _to_part(make_maps(), ("colours", "smooth"), "another network", 9)
    for part in (saved, other):
        subject, _ = ask(replace(classifier, attention_maps=part), draw_image())
        with pytest.raises(Unavailable, match="train t-tame again"):
            TTame().explain(subject, 0)


def test_a_part_whose_shapes_do_not_fit_is_refused():
    tap = AttentionTap("a", np.zeros((3, 2), np.float32), np.zeros(3, np.float32), np.zeros(
        (2, 3), np.float32
    ))  # fmt: skip
    packed = pack.pack({"attention_maps": TrainedMaps((tap,), np.zeros(2, np.float32), "s", 1)})
    with pytest.raises(ArtifactError, match="weight has the shape"):
        pack.unpack(*packed)
