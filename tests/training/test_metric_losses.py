"""Losses of metric learning against their formulas in plain NumPy."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from helpers.small_training import make_step
from ilk.training.batch import Batch
from ilk.training.objectives.arc_face import ArcFace
from ilk.training.objectives.contrastive_pairs import ContrastivePairs
from ilk.training.objectives.energy_confusion import EnergyConfusion
from ilk.training.objectives.leave_one_out_knn import LeaveOneOutKnn
from ilk.training.objectives.metrix import Metrix
from ilk.training.objectives.multi_similarity import MultiSimilarity
from ilk.training.objectives.normalized_softmax import NormalizedSoftmax
from ilk.training.objectives.proxy_anchor import ProxyAnchor
from ilk.training.objectives.semi_hard_triplet import SemiHardTriplet
from ilk.training.objectives.sup_con import SupCon

B, K, E = 14, 4, 5


def make_rows(seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(B, E)) + 1.5 * np.eye(E)[np.arange(B) % K]
    return z / np.linalg.norm(z, axis=1, keepdims=True), np.arange(B) % K


def compute(loss, z, y):
    if hasattr(loss, "proxies"):
        rng = np.random.default_rng(5)
        loss.proxies = nn.Parameter(torch.from_numpy(rng.normal(size=(K, E))))
    found = loss.compute_loss(torch.from_numpy(z), torch.from_numpy(y), make_step())
    return float(found.detach())


def get_cosines(loss, z):
    w = loss.proxies.detach().numpy()
    return z @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T


def list_pairs(y):
    every = [(i, j) for i, j in product(range(B), range(B)) if i != j]
    return [p for p in every if y[p[0]] == y[p[1]]], [p for p in every if y[p[0]] != y[p[1]]]


def test_contrastive_is_the_mean_over_pairs_that_are_not_where_they_should_be():
    z, y = make_rows()
    positive, negative = list_pairs(y)
    d = np.linalg.norm(z[:, None] - z, axis=2)
    push = [0.9 - d[p] for p in negative if d[p] < 0.9]
    expected = np.mean([d[p] for p in positive]) + np.mean(push)
    assert compute(ContrastivePairs(0.9), z, y) == pytest.approx(expected)


def test_triplets_are_semi_hard_and_no_others():
    z, y = make_rows()
    d, margin, terms = np.linalg.norm(z[:, None] - z, axis=2), 0.2, []
    for a, p, n in product(range(B), repeat=3):
        if a != p and y[a] == y[p] != y[n] and 0 < d[a, n] - d[a, p] <= margin:
            terms.append(d[a, p] - d[a, n] + margin)
    assert len(terms) > 5
    assert compute(SemiHardTriplet(margin), z, y) == pytest.approx(np.mean(terms))


def test_no_semi_hard_triplet_is_no_loss():
    z = np.eye(4)[[0, 0, 1, 1]]
    assert compute(SemiHardTriplet(0.1), z, np.array([0, 0, 1, 1])) == 0


def test_multi_similarity_selects_pairs_and_weighs_them():
    z, y = make_rows()
    s, total = z @ z.T, 0.0
    for i in range(B):
        positive = [j for j in range(B) if j != i and y[j] == y[i]]
        negative = [j for j in range(B) if y[j] != y[i]]
        most, least = s[i, negative].max(), s[i, positive].min()
        kept = [j for j in positive if s[i, j] < most + 0.1]
        pushed = [j for j in negative if s[i, j] > least - 0.1]
        total += np.log1p(sum(np.exp(-2 * (s[i, j] - 0.5)) for j in kept)) / 2
        total += np.log1p(sum(np.exp(50 * (s[i, j] - 0.5)) for j in pushed)) / 50
    assert compute(MultiSimilarity(), z, y) == pytest.approx(total / B)


def test_proxy_anchor_averages_over_proxies_with_rows_and_over_all():
    z, y = make_rows()
    z, y = z[y < 3], y[y < 3]  # the last class has no row in the batch
    loss = ProxyAnchor(margin=0.1, scale=8.0)
    found = compute(loss, z, y)
    s = get_cosines(loss, z)
    pull = [np.log1p(np.exp(-8 * (s[y == c, c] - 0.1)).sum()) for c in range(3)]
    push = [np.log1p(np.exp(8 * (s[y != c, c] + 0.1)).sum()) for c in range(K)]
    assert found == pytest.approx(np.mean(pull) + np.mean(push))


def cross_entropy(logits, y):
    return np.mean([np.log(np.exp(row).sum()) - row[c] for row, c in zip(logits, y, strict=True)])


def test_arc_face_adds_the_margin_to_the_angle():
    z, y = make_rows()
    loss = ArcFace(margin=0.4, scale=6.0)
    found = compute(loss, z, y)
    theta = np.arccos(get_cosines(loss, z))
    own = np.arange(K) == y[:, None]
    assert (theta[own] + 0.4 < np.pi).all()
    assert found == pytest.approx(cross_entropy(6 * np.cos(theta + 0.4 * own), y))


def test_arc_face_goes_on_falling_beyond_pi():
    loss, margin = ArcFace(margin=0.5, scale=1.0), 0.5
    loss.proxies = nn.Parameter(torch.eye(2, dtype=torch.float64))

    def get_own_logit(theta):
        z = torch.tensor([[np.cos(theta), np.sin(theta)]])
        value = float(loss.compute_loss(z, torch.tensor([0]), make_step()).detach())
        return np.sin(theta) - np.log(np.exp(value) - 1)  # log(1 + e^(other - own))

    angle = np.pi - margin
    assert get_own_logit(angle - 1e-6) == pytest.approx(-1, abs=1e-4)
    beyond = [get_own_logit(t) for t in np.linspace(angle + 0.01, np.pi - 0.01, 9)]
    assert np.all(np.diff(beyond) < 0)
    assert beyond[-1] == pytest.approx(np.cos(np.pi - 0.01) - margin * np.sin(margin), abs=1e-4)


def test_normalized_softmax_is_cross_entropy_of_cosines():
    z, y = make_rows()
    loss = NormalizedSoftmax(0.2)
    found = compute(loss, z, y)
    assert found == pytest.approx(cross_entropy(get_cosines(loss, z) / 0.2, y))


def test_supervised_contrastive_leaves_the_row_itself_out():
    z, y = make_rows()
    s, terms = z @ z.T / 0.3, []
    for i in range(B):
        others = [j for j in range(B) if j != i]
        total = np.log(sum(np.exp(s[i, j]) for j in others))
        terms.append(np.mean([total - s[i, j] for j in others if y[j] == y[i]]))
    assert compute(SupCon(0.3), z, y) == pytest.approx(np.mean(terms))


def test_energy_confusion_adds_the_distance_between_classes():
    z, y = make_rows()
    _, negative = list_pairs(y)
    energy = np.mean([np.sum((z[i] - z[j]) ** 2) for i, j in negative])
    plain = compute(SupCon(0.3), z, y)
    confused = compute(EnergyConfusion(SupCon(0.3), 0.7), z, y)
    assert confused == pytest.approx(plain + 0.7 * energy)


@pytest.mark.parametrize("kind", [ContrastivePairs, MultiSimilarity, ProxyAnchor])
def test_mixed_examples_of_one_row_alone_are_the_unmixed_loss(kind):
    """With labels of 0 and 1 the mixed loss is the sum over plain pairs, without mining."""
    z, y = make_rows()
    loss = Metrix(kind())
    if hasattr(loss.metric, "proxies"):
        compute(loss.metric, z, y)
        loss.metric.proxies.data = loss.metric.proxies.data
        anchors = np.arange(K)
        s = get_cosines(loss.metric, z).T
    else:
        anchors, s = y, z @ z.T
    label = (anchors[:, None] == y).astype(float)
    found = float(loss.compute_mixed_loss(*(torch.from_numpy(v) for v in (z, z, label))).detach())
    if kind is ContrastivePairs:
        d = np.sqrt(np.maximum(2 - 2 * s, 1e-8))
        expected = np.mean(label * d + (1 - label) * np.maximum(0, 0.5 - d))
    else:
        a, b = (2, 50) if kind is MultiSimilarity else (32, 32)
        low, high = (0.5, 0.5) if kind is MultiSimilarity else (0.1, -0.1)
        pull = np.log1p((label * np.exp(-a * (s - low))).sum(1)) / a
        push = np.log1p(((1 - label) * np.exp(b * (s - high))).sum(1)) / b
        expected = np.mean(pull + push) * (a if kind is ProxyAnchor else 1)
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_partner_is_of_another_class_and_shares_are_beta():
    y = torch.arange(400) % 4
    loss = Metrix(alpha=2.0)
    partner, share = loss.draw_partners(y, torch.Generator().manual_seed(0))
    assert (y != y[partner]).all()
    assert float(share.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(share.var()) == pytest.approx(0.05, abs=0.012)  # of Beta(2, 2)
    assert (Metrix(alpha=None).draw_partners(y, torch.Generator())[1] == 0.5).all()


def test_a_batch_of_one_class_mixes_nothing():
    network = Metrix.make_network(3, 1)
    batch = Batch(torch.randn(6, 3), torch.zeros(6, dtype=torch.int64))
    assert torch.isfinite(Metrix()(network, batch, make_step()))


def make_memory(loss, z, y, rows):
    loss.keys = torch.from_numpy(z)
    loss.key_y, loss.key_row = torch.from_numpy(y), torch.from_numpy(rows)


def test_neighbours_are_counted_without_the_row_itself():
    z, y = make_rows()
    loss = LeaveOneOutKnn(k=4, temperature=0.2, memory_size=B)
    make_memory(loss, z, y, np.arange(B))
    found = loss.compute_neighbour_loss(*(torch.from_numpy(v) for v in (z, y, np.arange(B))), k=4)
    terms = []
    for i in range(B):
        s = z[i] @ z.T
        others = sorted((j for j in range(B) if j != i), key=lambda j: -s[j])
        near = others[:4]
        if not any(y[j] == y[i] for j in near):
            near.append(next(j for j in others if y[j] == y[i]))
        e = {j: np.exp(s[j] / 0.2) for j in near}
        terms.append(-np.log(sum(v for j, v in e.items() if y[j] == y[i]) / sum(e.values())))
    assert float(found) == pytest.approx(np.mean(terms))


def test_all_neighbours_are_the_supervised_contrastive_loss_outside_the_logarithm():
    """With k = all, p sums over positives inside the logarithm: at most SupCon, by Jensen."""
    z, y = make_rows()
    loss = LeaveOneOutKnn(k=B, temperature=0.2, memory_size=B)
    make_memory(loss, z, y, np.arange(B))
    found = float(
        loss.compute_neighbour_loss(*(torch.from_numpy(v) for v in (z, y, np.arange(B))), k=B)
    )
    n_positive = np.array([np.sum(y == c) - 1 for c in y])
    assert found <= compute(SupCon(0.2), z, y) - np.log(n_positive).mean() + 1e-9


def test_the_memory_keeps_one_key_per_row_and_drops_the_oldest():
    loss = LeaveOneOutKnn(memory_size=6)
    loss.keys = torch.zeros(6, 2)

    def remember(rows):
        rows = torch.tensor(rows)
        loss._remember(rows[:, None].float().expand(-1, 2), rows % 2, rows)

    remember([0, 1, 2, 3])
    remember([3, 4])
    assert sorted(loss.key_row[loss.key_y >= 0].tolist()) == [0, 1, 2, 3, 4]
    remember([5, 6, 7])
    kept = loss.key_row[loss.key_y >= 0].tolist()
    assert len(kept) == len(set(kept))
    assert {4, 5, 6, 7} <= set(kept)
    assert 0 not in kept


def test_a_row_alone_in_its_class_counts_nowhere_in_the_supervised_contrastive_loss():
    z, y = make_rows()
    y = np.append(y[1:], y.max() + 1)
    s, terms = z @ z.T / 0.2, []
    for i in range(B - 1):
        others = [a for a in range(B) if a != i]
        total = np.log(np.exp(s[i, others]).sum())
        same = [p for p in others if y[p] == y[i]]
        if same:
            terms.append(np.mean([total - s[i, p] for p in same]))
    assert compute(SupCon(0.2), z, y) == pytest.approx(np.mean(terms))


def test_rows_without_a_label_are_left_out():
    z, y = make_rows()
    y = np.where(np.arange(B) % 3 == 0, -1, y)
    network, step = torch.nn.Identity(), make_step()
    x, labels = torch.from_numpy(z), torch.from_numpy(y)
    for loss in (ContrastivePairs(), SupCon(), MultiSimilarity()):
        whole = loss(network, Batch(x, labels), step)
        known = loss(network, Batch(x[labels >= 0], labels[labels >= 0]), step)
        torch.testing.assert_close(whole, known)


def test_an_empty_place_of_the_memory_is_no_neighbour():
    loss = LeaveOneOutKnn(k=1, memory_size=3)
    loss.keys = torch.tensor([[0.0, 1.0], [-0.6, -0.8], [-1.0, 0.0]], dtype=torch.float64)
    loss.key_y, loss.key_row = torch.tensor([-1, 1, 0]), torch.tensor([-1, 5, 6])
    z, y = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    found = loss.compute_neighbour_loss(z, y, torch.tensor([9]), 1)
    # the nearest key is of class 1; that of the own class is added
    assert float(found) == pytest.approx(np.log1p(np.exp((-0.6 + 1) / 0.1)))


@pytest.mark.parametrize("seed", range(3))
def test_the_mixed_loss_is_that_of_pairs_with_mixed_labels(seed):
    z, y = make_rows()
    x, labels = torch.from_numpy(z).float(), torch.from_numpy(y)
    loss = Metrix(ContrastivePairs(0.9), weight=0.7)
    step = replace(make_step(), generator=torch.Generator().manual_seed(seed))
    found = float(loss(nn.Identity(), Batch(x, labels), step))
    again = torch.Generator().manual_seed(seed)
    partner, share = (v.numpy() for v in loss.draw_partners(labels, again))
    takes_anchor = float(torch.rand((), generator=again)) < 0.5
    terms = []
    for a, v in product(range(B), range(B)):
        if (a == v) if takes_anchor else (a != v and y[a] == y[v]):
            lam = float(share[v, 0])
            mixed = lam * z[v] + (1 - lam) * z[partner[v]]
            d = np.linalg.norm(z[a] - mixed / np.linalg.norm(mixed))
            terms.append(lam * d + (1 - lam) * max(0, 0.9 - d))
    clean = compute(ContrastivePairs(0.9), z, y)
    assert found == pytest.approx(clean + 0.7 * np.mean(terms), rel=1e-4)
