"""Differences of weights between a tuned and an untuned network, carried to another version."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ilk.core.errors import InputError
from ilk.finetuning.weight_differences import (
    State,
    add_difference,
    check_same_shapes,
    compute_barrier,
    compute_difference,
    interpolate,
    transfer_tuning,
)


def make_network(seed: int, width: int = 5) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))
        net(torch.randn(8, 3))
    return net


def make_states(count: int = 3) -> list[dict[str, torch.Tensor]]:
    return [make_network(seed).state_dict() for seed in range(count)]


def is_same(a: State, b: State, tolerance: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(
        torch.allclose(a[k].double(), b[k].double(), rtol=0, atol=tolerance) for k in a
    )


def test_the_old_version_itself_becomes_the_tuned_one() -> None:
    old, tuned, _ = make_states()
    statistics = {k: v for k, v in old.items() if "running" in k or "num_batches" in k}
    assert is_same(transfer_tuning(old, tuned, old), {**tuned, **statistics}, 1e-6)


def test_a_network_that_was_not_tuned_teaches_nothing() -> None:
    old, _, new = make_states()
    assert is_same(transfer_tuning(new, old, old), new)
    assert is_same(transfer_tuning(new, make_states()[1], old, scale=0.0), new)


def test_a_linear_network_answers_as_the_sum_of_what_both_learned() -> None:
    """For linear networks outputs are linear in the weights, so they add up as well."""
    nets = [nn.Linear(4, 3) for _ in range(4)]
    new, tuned, old, both = nets
    both.load_state_dict(transfer_tuning(new.state_dict(), tuned.state_dict(), old.state_dict()))
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(both(x), new(x) + tuned(x) - old(x), atol=1e-6)


def test_statistics_and_inputs_stay_and_weights_move_by_the_scale() -> None:
    old, tuned, new = make_states()
    copies = [{k: v.clone() for k, v in state.items()} for state in (old, tuned, new)]
    half = transfer_tuning(new, tuned, old, scale=0.5)
    expected = new["0.weight"] + (tuned["0.weight"] - old["0.weight"]) / 2
    assert torch.allclose(half["0.weight"], expected)
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(half[name], new[name])
    half["1.running_var"].zero_()
    assert all(is_same(a, b) for a, b in zip(copies, (old, tuned, new), strict=True))


def test_other_shapes_are_refused_in_one_sentence() -> None:
    old, tuned, _ = make_states()
    wide = make_network(0, width=6).state_dict()
    with pytest.raises(
        InputError, match=r"the new network.*0\.weight is \[6, 3\] and not \[5, 3\]"
    ):
        transfer_tuning(wide, tuned, old)
    with pytest.raises(InputError, match="the tuned network"):
        compute_difference(wide, old)
    with pytest.raises(InputError, match="the old network"):
        add_difference(wide, compute_difference(tuned, old))
    fewer = {k: v for k, v in old.items() if k != "2.bias"}
    with pytest.raises(InputError, match=r"2\.bias is absent and not \[2\]") as caught:
        check_same_shapes(old, fewer)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"2\.bias is \[2\] and not absent"):
        check_same_shapes(fewer, old)
    with pytest.raises(InputError, match="and 6 more"):
        check_same_shapes(old, {})
    with pytest.raises(InputError, match="finite"):
        transfer_tuning(old, tuned, old, scale=float("nan"))


def test_types_are_those_of_the_new_version() -> None:
    old, tuned, new = make_states()
    narrow = {k: v.bfloat16() if v.is_floating_point() else v for k, v in new.items()}
    assert all(v.dtype == narrow[k].dtype for k, v in transfer_tuning(narrow, tuned, old).items())


def test_interpolation_ends_at_both_networks() -> None:
    first, second, _ = make_states()
    assert is_same(interpolate(first, second, 0.0), first)
    middle = interpolate(first, second, 0.5)
    assert torch.allclose(middle["2.bias"], (first["2.bias"] + second["2.bias"]) / 2)


def test_a_barrier_is_the_rise_above_the_line() -> None:
    first, second = ({"w": torch.tensor([v])} for v in (-1.0, 1.0))

    def hill(state: State) -> float:
        return 1 - float(state["w"]) ** 2

    def slope(state: State) -> float:
        return 3 * float(state["w"])

    assert compute_barrier(first, second, hill) == pytest.approx(1.0)
    assert compute_barrier(first, second, lambda s: -hill(s)) == 0
    assert compute_barrier(first, second, slope) == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError):
        compute_barrier(first, second, hill, points=0)
