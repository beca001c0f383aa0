"""The benchmark of progressive students compares arms that share digits, order and updates."""

import pytest
import torch

from benchmarks.progressive_students.run import run
from benchmarks.progressive_students.setting import RecurrentStudent, count_multiplications
from benchmarks.student_networks import ConvNet
from ilk.core.errors import Unavailable


def test_multiplications_of_a_small_network_by_hand():
    network = ConvNet((2, 3), 5, channels=1)
    by_hand = 2 * 9 * 14 * 14 + 3 * 2 * 9 * 7 * 7 + 3 * 5
    assert count_multiplications(network, torch.zeros(1, 1, 28, 28)) == by_hand


def test_a_recurrent_student_reads_rows_from_the_top():
    network = RecurrentStudent(0)
    x = torch.rand(2, 1, 14, 14)
    state = torch.zeros(1, 2, network.gru.hidden_size)
    for row in range(14):
        _, state = network.gru(x[:, :, row], state)
    torch.testing.assert_close(network(x), network.fc(state[0]))


def test_every_arm_is_reported():
    try:
        result = run(small=True)
    except Unavailable as error:
        pytest.skip(str(error))
    assert [len(table["scores"]) for table in result["tables"]] == [4, 4, 4, 6]
    largest = {s["method"]: s["score"]["mean"] for s in result["tables"][0]["scores"]}
    assert largest["direct"] == largest["stepwise"] == largest["boosted"]  # none before it
    sizes = result["sizes"]["multiplications"]
    assert abs(sizes["GRU of as many multiplications"] / sizes["group"] - 1) < 0.05
