"""Token pruning by hand, codes of classes, and a teacher that learns nothing from its students."""

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import nn
from torch.nn import functional

from helpers.small_training import make_step
from ilk.architectures.token_pruning_transformer import Pruning, TokenPruningTransformer
from ilk.maths.class_codes import improve_codes, make_class_codes, measure_correlation
from ilk.training.batch import Batch
from ilk.training.objectives.pruned_hashing import PrunedHashing, TeacherAndStudents

SHAPE = (1, 8, 12)


def make(pruning=Pruning(), seed=0, **settings):  # noqa: B008
    torch.manual_seed(seed)
    settings = {"bits": 6, "width": 12, "depth": 3, "heads": 2, **settings}
    network = TokenPruningTransformer(SHAPE, 4, 5, pruning=pruning, **settings)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    return network.eval()


def make_images(n=7, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_scores_are_those_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    attention, response = torch.rand(2, 3, 2, 5, generator=generator)
    score = make().score(attention, response)
    for i in range(3):
        for j in range(5):
            total = response[i, :, j].sum()
            expected = sum(attention[i, h, j] * response[i, h, j] / total for h in range(2))
            torch.testing.assert_close(score[i, j], expected)
    plain = make(Pruning(rule="attention")).score(attention, response)
    torch.testing.assert_close(plain, attention.sum(1))


def test_attention_and_responses_are_those_of_the_definition():
    block = make().blocks[0]
    z = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(1))
    _, attention, response = block(z)
    q, k, v = block.queries_keys_values(block.norms[0](z)).chunk(3, 2)
    for h in range(2):
        part = slice(6 * h, 6 * h + 6)
        a = (q[..., part] @ k[..., part].transpose(1, 2) / 6**0.5).softmax(2)
        torch.testing.assert_close(attention[:, h], a[:, 0, 1:])
        torch.testing.assert_close(response[:, h], (a @ v[..., part])[:, 1:].norm(dim=2))


def test_keeping_all_tokens_changes_nothing_and_fewer_are_the_best_in_order():
    x = make_images()
    whole = make()
    same = make(Pruning(((1, 6), (2, 6))))
    torch.testing.assert_close(same(x), whole(x))
    pruned = make(Pruning(((1, 4), (2, 2))))
    output = pruned.compute(x)
    assert output.tokens.shape == output.attention.shape == (7, 2)
    assert (output.tokens[:, 0] < output.tokens[:, 1]).all()
    z = pruned.embedding(x).flatten(2).transpose(1, 2)
    z = torch.cat([pruned.class_token.expand(len(z), -1, -1), z], 1) + pruned.position
    z, attention, response = pruned.blocks[0](z)
    best = pruned.score(attention, response).argsort(1, descending=True)[:, :4]
    assert all(set(t.tolist()) <= set(b.tolist()) for t, b in zip(output.tokens, best, strict=True))


def test_random_tokens_come_from_the_generator():
    x, network = make_images(), make(Pruning(((1, 3),), "random"))
    draws = [network.compute(x, torch.Generator().manual_seed(s)).tokens for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_hidden_patches_are_rows_of_the_grid_not_columns():
    x = torch.ones(1, *SHAPE)
    hidden = make().hide_patches(x, torch.tensor([[1, 5]]))[0, 0]
    expected = torch.ones(8, 12)
    expected[0:4, 4:8] = 0  # token 1: first row, second column
    expected[4:8, 8:12] = 0  # token 5: second row, third column
    torch.testing.assert_close(hidden, expected)


def test_codes_of_as_many_classes_as_bits_are_orthogonal():
    assert measure_correlation(hadamard(8).astype(float)) == 0
    assert measure_correlation(make_class_codes(4, 8).astype(float)) == 0
    codes = make_class_codes(10, 16, seed=3)
    assert set(np.unique(codes)) == {-1, 1}
    distances = (16 - codes @ codes.T)[~np.eye(10, dtype=bool)] / 2
    assert distances.min() >= 6
    np.testing.assert_array_equal(codes, make_class_codes(10, 16, seed=3))


def test_no_single_bit_can_be_turned_for_the_better():
    start = np.random.default_rng(0).choice([-1.0, 1.0], (7, 9))
    codes = improve_codes(start)
    best = measure_correlation(codes)
    assert best < measure_correlation(start)
    for i in np.ndindex(codes.shape):
        turned = codes.copy()
        turned[i] *= -1
        assert measure_correlation(turned) >= best
    with pytest.raises(ValueError, match="at least 1"):
        make_class_codes(0, 4)


def compute_loss(students, is_taught, x, y, teacher=None):
    pair = TeacherAndStudents(teacher or make(seed=9), students, is_taught)
    objective = PrunedHashing()
    objective.setup(pair, Batch(x, y))
    return pair, objective(pair, Batch(x, y), make_step()), objective.targets


def test_the_loss_is_the_sum_of_its_terms():
    x, y = make_images(), torch.arange(7) % 5
    student = make(Pruning(((1, 4),)))
    pair, loss, targets = compute_loss([student], [True], x, y)
    seen, first = student.compute(x), pair.teacher.compute(x)
    top = first.attention.argsort(1, descending=True)[:, :4]
    without = student.compute(pair.teacher.hide_patches(x, top))
    entropy = nn.CrossEntropyLoss()
    expected = entropy(first.logits, y) + ((first.code - targets[y]) ** 2).mean()
    expected = expected + 0.1 * (entropy(seen.logits, y) + entropy(without.logits, y))
    expected = expected + ((seen.code - targets[y]) ** 2).mean()
    expected = expected + (1 - functional.cosine_similarity(seen.code, first.code)).mean()
    torch.testing.assert_close(loss, expected)


def test_the_teacher_does_not_see_its_students():
    x, y = make_images(), torch.arange(7) % 5
    gradients = []
    for students in ([make()], [make(seed=1), make(seed=2)]):
        pair, loss, _ = compute_loss(students, None, x, y)
        loss.backward()
        gradients.append([p.grad.clone() for p in pair.teacher.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="rule is"):
        Pruning(rule="best")
    with pytest.raises(ValueError, match="must divide"):
        TokenPruningTransformer((1, 10, 12), 4, 5)
