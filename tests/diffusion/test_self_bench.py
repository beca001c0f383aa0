"""Self-made tests: what is drawn, kept, held out, and how far home is from abroad."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.metrics import wilson_interval
from ilk.core.progress import silent_progress
from ilk.diffusion.denoiser.protocol import expand_like
from ilk.diffusion.generation.sample import Sampler
from ilk.diffusion.generation.self_bench import (
    SelfBenchConfig,
    compute_domain_gap,
    draw_images,
    run_self_bench,
)
from ilk.diffusion.generation.weighting_accuracy import (
    compare_paired,
    is_correct,
    summarize_accuracy,
)

QUICK = SelfBenchConfig(n_per_class=30, sampler=Sampler(steps=6), n_levels=6)


@dataclass(frozen=True)
class Bells:
    """Class c is `N(mean_c, spread^2)`; the denoiser is exact, and does badly on other means."""

    means: Tensor
    sigma_data: float = 0.4
    sigmas: tuple[float, float] = (0.01, 50.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.means.shape[1:]
        return c, h, w

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("abcdefgh"[: len(self.means)])

    def condition(self, classes: Tensor) -> Tensor:
        return classes

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        means = self.means[condition]
        share = self.sigma_data**2 / (self.sigma_data**2 + expand_like(sigma, noisy) ** 2)
        return means + share * (noisy - means)


def pair() -> tuple[Bells, Bells]:
    """Two that mean the same classes in different styles."""
    generator = torch.Generator().manual_seed(4)
    common = 0.4 * torch.randn(3, 1, 4, 4, generator=generator)
    styles = 0.3 * torch.randn(2, 3, 1, 4, 4, generator=generator)
    return Bells(common + styles[0]), Bells(common + styles[1])


def nearest(model: Bells):
    def keeps(x: Tensor) -> Tensor:
        return (-(x[:, None] - model.means).square().flatten(2).sum(2)).softmax(1)

    return keeps


def test_home_is_known_better_than_abroad_and_counts_add_up():
    a, b = pair()
    settings = replace(QUICK, n_per_class=80)
    told = run_self_bench(a, {"A": a, "B": b}, nearest(a), settings)
    assert json.loads(json.dumps(told)) == told
    kept = told["generation"]["hits"]
    assert told["generation"]["of"] == 240
    assert sum(row["hits"] for row in told["classes"].values()) == kept
    assert all(row["of"] == 80 for row in told["classes"].values())
    assert told["fitted on"] + told["tested on"] == kept
    assert abs(told["fitted on"] - told["tested on"]) <= 3  # half of every class
    assert {n: j["domain"] for n, j in told["classifiers"].items()} == {"A": "in", "B": "cross"}
    for rule in ("uniform", "exp(-7t)", "learned"):
        own, other = (told["classifiers"][n]["accuracy"][rule] for n in "AB")
        assert own["of"] == other["of"] == told["tested on"]
        gap = told["gap"]["B"][rule]
        assert gap["value"] == pytest.approx(own["value"] - other["value"])
        assert gap["low"] < gap["value"] < gap["high"]
        found = wilson_interval(own["hits"], own["of"])
        assert (own["low"], own["high"]) == (found.low, found.high)
    assert told["gap"]["B"]["uniform"]["low"] > 0
    back = run_self_bench(b, {"A": a, "B": b}, nearest(b), settings)
    both = compute_domain_gap({"A": told, "B": back})
    own = told["classifiers"]["A"]["accuracy"]["uniform"]["value"]
    other = back["classifiers"]["A"]["accuracy"]["uniform"]["value"]
    assert both["A"] == {"in-domain": own, "cross-domain": other, "gap": own - other}
    assert min(each["gap"] for each in both.values()) > 0


def test_only_what_shows_its_class_is_kept():
    a, b = pair()
    x, y = draw_images(a, QUICK, silent_progress)
    strict = nearest(a)

    def never_b(x: Tensor) -> Tensor:
        return strict(x) * torch.tensor([1.0, 0.0, 1.0])

    told = run_self_bench(a, {"A": a, "B": b}, never_b, QUICK)
    assert told["classes"]["b"]["hits"] == 0
    right = (never_b(x).argmax(1) == y).view(3, 30).sum(1).tolist()
    assert [told["classes"][c]["hits"] for c in "abc"] == right
    assert right[0] > 10
    with pytest.raises(InputError, match="0 of the 90 images drawn show their class"):
        run_self_bench(a, {"A": a}, lambda x: torch.ones(len(x), 4).cumsum(1), QUICK)


def test_the_tested_half_teaches_nothing(monkeypatch: pytest.MonkeyPatch):
    from ilk.diffusion.generation import weighting_accuracy as by_weighting

    a, _ = pair()
    taught = []
    plain = by_weighting.Levels.learn

    def watched(errors, y, *rest, **named):
        taught.append((errors, y))
        return plain(errors, y, *rest, **named)

    monkeypatch.setattr(by_weighting.Levels, "learn", watched)
    x, y = draw_images(a, QUICK, silent_progress)
    held = torch.arange(len(y)) % 2 == 0
    accurate, known = by_weighting.evaluate_weightings(a, x, y, held, QUICK, silent_progress)
    assert len(taught[0][1]) == int((~held).sum())
    assert all(len(hit) == int(held.sum()) for hit in accurate.values())
    spoiled = torch.where(held, (y + 1) % 3, y)  # labels of the tested half, all wrong
    _, again = by_weighting.evaluate_weightings(a, x, spoiled, held, QUICK, silent_progress)
    assert again["weights"] == known["weights"]


def test_learned_weights_are_laid_on_the_levels_they_were_learned_for():
    a, _ = pair()
    x, y = draw_images(a, replace(QUICK, n_per_class=60), silent_progress)
    held = torch.arange(len(y)) % 2 == 0
    from ilk.diffusion.errors.class_errors import compute_class_errors, compute_scores
    from ilk.diffusion.errors.levels import Levels
    from ilk.diffusion.generation.weighting_accuracy import evaluate_weightings

    accurate, known = evaluate_weightings(a, x, y, held, QUICK, silent_progress)
    levels = Levels.from_json(known["weights"])
    sigmas = torch.tensor(levels.sigmas)
    made = compute_class_errors(a, x[held], sigmas, levels.draw_noise(a, QUICK.seed))
    told = compute_scores(made, torch.tensor(levels.weights)).argmax(1)
    assert torch.equal(accurate["learned"], told == y[held])
    alone = known["one level alone"]
    assert [row["sigma"] for row in alone] == sorted(levels.sigmas)
    at = levels.sigmas.index(alone[2]["sigma"])
    right = (made[:, :, at].argmin(1) == y[held]).double().mean()
    assert alone[2]["accuracy"] == pytest.approx(float(right))


def test_images_of_a_class_differ_and_follow_the_seed():
    a, _ = pair()
    x, y = draw_images(a, QUICK, silent_progress)
    assert y.tolist() == [c for c in range(3) for _ in range(30)]
    assert len(np.unique(x.numpy().round(4), axis=0)) == 90
    spread = x - a.means[y]
    assert not torch.allclose(spread[:30], spread[30:60], atol=1e-3)  # no noise serves two classes
    assert torch.equal(draw_images(a, QUICK, silent_progress)[0], x)
    other = replace(QUICK, sampler=replace(QUICK.sampler, seed=1))
    assert not torch.allclose(draw_images(a, other, silent_progress)[0], x)


def test_a_tie_is_no_hit_and_pairs_are_compared():
    told = torch.tensor([[1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    assert is_correct(told, torch.tensor([0, 0, 1])).tolist() == [False, True, False]
    own, other = torch.tensor([1, 1, 1, 0]).bool(), torch.tensor([1, 0, 0, 0]).bool()
    gain = compare_paired(own, other)
    assert gain["value"] == 0.5
    assert gain["high"] - gain["value"] == pytest.approx(1.96 * 0.5 / 2)
    assert summarize_accuracy(own)["hits"] == 3


def test_bad_input_is_refused():
    a, b = pair()
    with pytest.raises(InputError, match="none of the classifiers"):
        run_self_bench(a, {"B": b}, nearest(a), QUICK)
    with pytest.raises(InputError, match="classifier 'B' takes"):
        run_self_bench(a, {"A": a, "B": Bells(b.means[:2])}, nearest(a), QUICK)
    with pytest.raises(InputError, match="without classes"):
        run_self_bench(Bells(a.means[:0]), {}, nearest(a), QUICK)
    with pytest.raises(InputError, match="2 generators"):
        compute_domain_gap({})
    with pytest.raises(InputError, match="n_per_class is 0"):
        SelfBenchConfig(n_per_class=0)
