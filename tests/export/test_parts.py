"""Every head that a method fits answers the same as ONNX operators, or is refused by name."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_graphs import run_graph
from ilk.core.data import Data
from ilk.core.deep_mlp import DeepMLP
from ilk.core.ensemble import EnsembleModel, MemberModel
from ilk.core.errors import InputError
from ilk.core.grouped_softmax import GroupedSoftmax
from ilk.core.linear_models import Linear, NormalizedLinear
from ilk.export.graphs.find_writers import list_part_writers, write_logits
from ilk.methods import list_methods
from ilk.methods.adanpc import AdaNPC
from ilk.methods.k_nearest import KNearest
from ilk.updates.extended_models import ExtendedModel

D, K = 6, 4
METHODS = {
    name: kind
    for name, kind in list_methods().items()
    if kind.input_kind == "features" and not kind.needs_class_scores
}


def make_data(seed=0, missing=()):
    rng = np.random.default_rng(seed)
    means = 2.5 * rng.standard_normal((K, D))
    y = rng.permutation(np.repeat(np.arange(K), (30, 18, 11, 8)))
    x = (means[y] + rng.standard_normal((len(y), D))).astype(np.float32)
    y[np.isin(y, missing)] = -1
    hints = (means + 0.2 * rng.standard_normal(means.shape)).astype(np.float32)
    known = Linear(hints, -(hints**2).sum(1) / 2)
    names = tuple(f"kind {c}" for c in range(K))
    domain = np.arange(len(y)) % 3
    return Data(x, y, names, domain=domain, class_embeddings=hints, class_model=known)


def draw_rows(seed=1, n=40):
    return (3 * np.random.default_rng(seed).standard_normal((n, D))).astype(np.float32)


def check_same(model, x, tolerance=1e-9):
    expected = model.logits(x)
    got = run_graph(lambda tensor: write_logits(model, tensor), x)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))
    possible = np.isfinite(expected)
    np.testing.assert_allclose(got[possible], expected[possible], rtol=tolerance, atol=tolerance)
    assert got.dtype == np.float64


@pytest.mark.parametrize("name", METHODS)
def test_the_head_of_each_method(name):
    """A method whose model nothing writes is refused, and is none that `ilk fit` tries unasked."""
    model = METHODS[name]().fit(make_data())
    x = draw_rows()
    if model.kind not in list_part_writers():
        assert not METHODS[name].default_candidate
        with pytest.raises(InputError, match=f"{model.kind}.* cannot be written as ONNX; keep"):
            run_graph(lambda tensor: write_logits(model, tensor), x)
        return
    check_same(model, x)


@pytest.mark.parametrize("name", ["GDA", "KNearest", "NearestClassMean", "EMDirichlet"])
def test_a_class_without_rows_stays_impossible(name):
    check_same(METHODS[name]().fit(make_data(missing=(2,))), draw_rows())


def test_a_row_of_zeros_has_no_direction():
    x = np.zeros((2, D), np.float32)
    weight = np.random.default_rng(0).standard_normal((K, D)).astype(np.float32)
    check_same(NormalizedLinear(weight, np.arange(K, dtype=np.float32)), x)


def test_votes_with_weights():
    data = make_data()
    weight = np.random.default_rng(2).uniform(0.2, 2.0, len(data))
    check_same(KNearest(k=5).fit(replace(data, weight=weight)), draw_rows())


def test_equal_distances_go_to_the_earlier_row():
    x = np.repeat(np.eye(D, dtype=np.float32), 2, 0)
    y = np.arange(len(x)) % K
    model = KNearest(k=1).fit(Data(x, y, tuple("abcd")))
    check_same(model, np.eye(D, dtype=np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_an_ensemble_of_members_on_their_own_columns(seed):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    bias = draw(K)
    bias[1] = -np.inf
    members = (
        MemberModel(Linear(draw(K, 4), bias), np.array([[0, 4]]), np.ones(1), 0.7, 1.3, 0.01),
        MemberModel(
            NormalizedLinear(draw(K, 4), bias),
            np.array([[0, 2], [4, 6]]),
            np.array([0.5, 3.0]),
            0.3,
            0.2,
            0.0,
        ),
        MemberModel(Linear(draw(K, 1), bias), np.array([[5, 6]]), np.ones(1), 0.0, 1.0, 0.0),
    )
    check_same(EnsembleModel(members), draw_rows(seed))


@pytest.mark.parametrize("outside", [True, False])
def test_groups_of_classes(outside):
    rng = np.random.default_rng(0)
    group = np.array([0, 2, 1, 1, 0, -1 if outside else 2, 3])
    weight = rng.standard_normal((7, D)).astype(np.float32)
    check_same(
        GroupedSoftmax(weight, np.linspace(-40, 40, 7).astype(np.float32), group), draw_rows()
    )


def test_further_layers_and_added_classes():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    base = DeepMLP(
        draw(D), np.ones(D, np.float32), draw(8, D), draw(8), draw(K, 8), draw(K),
        draw(2, 8, 8), draw(2, 8),
    )  # fmt: skip
    check_same(base, draw_rows())
    check_same(ExtendedModel(base, draw(K + 2, D), draw(K + 2), 1.7, 0.6, K), draw_rows())


def test_a_memory_of_test_rows():
    check_same(AdaNPC().fit(make_data()), draw_rows())


def test_no_file_writes_a_kind_that_does_not_exist():
    from ilk.artifacts import pack

    assert all(pack.find_class(kind) for kind in list_part_writers())
