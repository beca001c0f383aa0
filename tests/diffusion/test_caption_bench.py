"""Captions as classes: candidates per image, embeddings that bind, and who teaches the weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diffusion.test_self_bench import QUICK, Bells
from ilk.core.errors import InputError
from ilk.diffusion.errors.class_errors import compute_class_errors, draw_level_noise
from ilk.diffusion.generation import weighting_accuracy
from ilk.diffusion.generation.caption_bench import draw_captions, evaluate_captions
from ilk.diffusion.networks.embedding import AttributeEmbedding

TABLE = torch.tensor(
    [[[d, c], [e, b]] for d in range(3) for c in range(2) for e in range(3) for b in range(2)]
)


def world(k: int = 6) -> Bells:
    generator = torch.Generator().manual_seed(4)
    return Bells(0.4 * torch.randn(k, 1, 4, 4, generator=generator))


def drawn(model: Bells, n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(n) % len(model.means)
    return model.means[y] + model.sigma_data * torch.randn(n, 1, 4, 4, generator=generator), y


def test_errors_of_candidates_are_columns_of_the_errors_of_all_classes():
    model = world()
    x, y = drawn(model, 9)
    sigmas, noise = torch.tensor([0.3, 1.0]), draw_level_noise(model, 2)
    every = compute_class_errors(model, x, sigmas, noise)
    candidates = torch.stack([y, (y + 2) % 6, (5 * y + 1) % 6], 1)
    few = compute_class_errors(model, x, sigmas, noise, candidates=candidates)
    wanted = torch.stack([every[i, candidates[i]] for i in range(9)])
    assert torch.equal(few, wanted)
    with pytest.raises(InputError, match=r"candidates of shape \(8, 3\) do not go with 9 images"):
        compute_class_errors(model, x, sigmas, noise, candidates=candidates[:8])


def test_a_caption_is_right_if_its_error_is_below_the_wrong_one_s():
    model = world()
    x, y = drawn(model, 120)
    wrong = {"next": (y + 1) % 6, "after": (y + 2) % 6}
    is_test = torch.arange(120) % 2 == 0
    told = evaluate_captions(model, x, y, wrong, is_test, QUICK)
    even = weighting_accuracy.make_even_levels(model, QUICK)
    sigmas, noise = torch.tensor(even.sigmas), even.draw_noise(model, QUICK.seed)
    errors = compute_class_errors(model, x, sigmas, noise)
    score = (errors.double() * torch.tensor(even.weights).double()).mean(2)
    rows = torch.arange(120)
    for name, captions in wrong.items():
        right = (score[rows, y] < score[rows, captions])[is_test]
        found = told[name]["accuracy"]["uniform"]
        assert (found["hits"], found["of"]) == (int(right.sum()), 60)
        assert found["value"] > 0.7
        assert len(told[name]["one level alone"]) == QUICK.n_levels
    with pytest.raises(InputError, match="differ from the true ones"):
        evaluate_captions(model, x, y, {"same": y}, is_test, QUICK)


def test_tested_images_teach_no_weights(monkeypatch: pytest.MonkeyPatch):
    model, taught = world(), []
    x, y = drawn(model, 40)
    is_test = torch.arange(40) < 25
    plain = weighting_accuracy.Levels.learn

    def watched(errors: Tensor, labels: Tensor, *rest: object, **named: object) -> object:
        taught.append(errors)
        return plain(errors, labels, *rest, **named)

    monkeypatch.setattr(weighting_accuracy.Levels, "learn", watched)
    evaluate_captions(model, x, y, {"next": (y + 1) % 6}, is_test, QUICK)
    assert [e.shape[:2] for e in taught] == [(15, 2)]


def test_images_are_drawn_for_their_captions():
    model, captions = world(), torch.tensor([2, 0, 5, 2])

    def judge(x: Tensor, wanted: Tensor) -> Tensor:
        return (x[:, None] - model.means).square().flatten(2).sum(2).argmin(1) == wanted

    x, shows = draw_captions(model, captions.repeat(30), judge, replace(QUICK, seed=1))
    assert x.shape == (120, 1, 4, 4)
    assert shows.double().mean() > 0.7


def test_an_embedding_binds_attributes_to_objects_and_objects_to_places():
    torch.manual_seed(0)
    embed = AttributeEmbedding(TABLE, 12)

    def find(*row: tuple[int, int]) -> Tensor:
        at = (torch.tensor(row) == TABLE).flatten(1).all(1).nonzero()[0]
        return embed(at)[0]

    first = find((0, 0), (1, 1))
    assert (first - find((0, 1), (1, 0))).norm() > 0.05  # the same attributes, bound otherwise
    assert (first - find((1, 1), (0, 0))).norm() > 0.05  # the same objects, elsewhere
    null = embed(torch.tensor([len(TABLE)]))
    assert torch.equal(null[0], embed.null)
    out = embed(torch.tensor([3, len(TABLE), 7]))
    assert torch.allclose(out[[0, 2]], embed(torch.tensor([3, 7])), atol=1e-6)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in embed.parameters())
