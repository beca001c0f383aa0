"""The denoiser of candidates by loops, its sampler, and its limiting cases."""

import math

import pytest
import torch
from torch.nn import functional

from helpers.small_training import make_step
from ilk.architectures.candidate_denoiser import (
    SCALE,
    CandidateDenoiser,
    add_noise,
    compute_signal,
)
from ilk.training.batch import Batch
from ilk.training.objectives.candidate_diffusion import CandidateDiffusion, choose_candidates
from ilk.training.trainer import Recipe, train

E, N, B = 6, 5, 3


def make_inputs():
    generator = torch.Generator().manual_seed(0)
    query, items = (torch.randn(s, generator=generator).double() for s in ((B, E), (B, N, E)))
    noisy = torch.randn(B, N, generator=generator).double()
    return query, items, noisy, torch.tensor([0.1, 0.5, 0.9]).double()


def make_network(reads_noise=True):
    torch.manual_seed(0)
    return CandidateDenoiser(E, 8, reads_noise).double()


@torch.no_grad()
def test_the_output_of_each_candidate_by_hand():
    net, (query, items, noisy, level) = make_network(), make_inputs()
    ours = net(query, items, noisy, level)
    for b in range(B):
        waves = [
            f(math.pi * 2**i * float(level[b])) for f in (math.sin, math.cos) for i in range(8)
        ]
        e = net.level(torch.tensor(waves).double())
        dot = [
            net.query(query[b] + e) @ net.key(items[b, c] + e) / math.sqrt(8) + noisy[b, c]
            for c in range(N)
        ]
        weights = [float(d.exp() / sum(x.exp() for x in dot)) for d in dot]
        z = net.output(sum(w * net.value(items[b, c] + e) for c, w in enumerate(weights)))
        for c in range(N):
            joined = torch.cat([z, items[b, c] + e])
            assert float(ours[b, c]) == pytest.approx(SCALE * float(net.mlp(joined) + weights[c]))


def test_without_noise_neither_distribution_nor_level_matter():
    query, items, noisy, level = make_inputs()
    net = make_network(False)
    assert torch.equal(net(query, items, noisy, level), net(query, items, -noisy, level / 2))
    other = make_network(True)
    assert not torch.allclose(other(query, items, noisy, level), other(query, items, -noisy, level))
    moved = other(query, items, noisy, level / 2)
    assert not torch.allclose(other(query, items, noisy, level), moved)


def test_the_order_of_candidates_does_not_matter_and_missing_ones_have_no_part():
    net, (query, items, noisy, level) = make_network(), make_inputs()
    order = torch.tensor([3, 0, 4, 1, 2])
    out = net(query, items, noisy, level)
    torch.testing.assert_close(net(query, items[:, order], noisy[:, order], level), out[:, order])
    is_missing = torch.zeros(B, N, dtype=torch.bool)
    is_missing[:, 3:] = True
    masked = net(query, items, noisy, level, is_missing)
    torch.testing.assert_close(masked[:, :3], net(query, items[:, :3], noisy[:, :3], level))
    assert (masked[:, 3:] == -torch.inf).all()


def test_the_schedule_goes_from_signal_to_noise():
    level = torch.linspace(0, 1, 50).double()
    signal = compute_signal(level)
    assert signal[0] == 1
    assert signal[-1] == pytest.approx(0, abs=1e-12)
    assert (signal.diff() < 0).all()
    x, noise = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 3.0]])
    torch.testing.assert_close(add_noise(x, torch.zeros(1), noise), x, atol=2e-3, rtol=0)
    torch.testing.assert_close(add_noise(x, torch.ones(1), noise), noise, atol=1e-3, rtol=1e-3)


class Certain(CandidateDenoiser):
    """Knows the answer, the last candidate, and remembers what it was shown."""

    def forward(self, query, items, noisy, level, is_missing=None):
        self.seen = [*getattr(self, "seen", []), (noisy, level)]
        out = torch.zeros(noisy.shape)
        out[:, -1] = 1e3
        return out


def test_sampling_keeps_the_noise_it_began_with_when_the_denoiser_is_right():
    net = Certain(E)
    p = net.sample(torch.zeros(2, E), torch.zeros(2, 4, E), torch.Generator().manual_seed(3), 6)
    assert torch.equal(p, torch.eye(4)[[3, 3]])
    start = torch.randn(2, 4, generator=torch.Generator().manual_seed(3))
    first = net.seen[0][0]
    assert torch.equal(first, start)
    noise = (start - compute_signal(torch.ones(1)).sqrt() * p) / 1.0
    for noisy, level in net.seen:
        torch.testing.assert_close(noisy, add_noise(p, level, noise), atol=1e-5, rtol=1e-5)


def test_candidates_are_the_own_item_then_the_most_similar_of_another_label():
    generator = torch.Generator().manual_seed(1)
    query, item = torch.randn(2, 6, E, generator=generator)
    y = torch.tensor([0, 0, 1, 1, 1, 2])
    chosen, is_missing = choose_candidates(query, item, y, 5)
    s = functional.cosine_similarity(query[:, None], item[None], dim=2)
    for i in range(6):
        others = sorted((j for j in range(6) if y[j] != y[i]), key=lambda j: -float(s[i, j]))
        assert chosen[i][~is_missing[i]].tolist() == [i, *others[:4]]


def test_a_head_learns_which_item_belongs_to_a_query():
    generator = torch.Generator().manual_seed(2)
    query = functional.normalize(torch.randn(200, E, generator=generator), dim=1)
    hidden = torch.linalg.qr(torch.randn(E, E, generator=generator))[0]  # cosines tell nothing
    rows = Batch(torch.cat([query, query @ hidden], 1), torch.arange(200))
    torch.manual_seed(0)
    net = train(CandidateDenoiser(E, 16), rows, CandidateDiffusion(8), Recipe(300, 64, 1e-2, 20))
    chosen, _ = choose_candidates(query[:50], (query @ hidden)[:50], torch.arange(50), 8)
    p = net.sample(query[:50], (query @ hidden)[:50][chosen], torch.Generator().manual_seed(0))
    assert (p.argmax(1) == 0).double().mean() > 0.6  # chance is 0.125


def test_the_loss_is_that_of_the_first_candidate():
    torch.manual_seed(0)
    net = CandidateDenoiser(E, 8, reads_noise=False)
    x = torch.randn(4, 2 * E)
    loss = CandidateDiffusion(4)(net, Batch(x, torch.arange(4)), make_step())
    chosen, _ = choose_candidates(x[:, :E], x[:, E:], torch.arange(4), 4)
    out = net(x[:, :E], x[:, E:][chosen], torch.zeros(4, 4), torch.zeros(4))
    torch.testing.assert_close(loss, -out.log_softmax(1)[:, 0].mean())
