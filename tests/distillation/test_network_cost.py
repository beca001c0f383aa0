"""Costs of small networks, counted by hand."""

from torch import nn

from ilk.distillation.comparison import format_number
from ilk.distillation.network_cost import count_multiply_adds, measure_cost


def test_multiply_adds_of_a_small_network_by_hand():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),  # 5 x 5 places, 27 inputs, 4 outputs
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),  # 5 x 5 places, 9 inputs, 4 outputs
        nn.Conv2d(4, 6, 1),  # 5 x 5 places, 4 inputs, 6 outputs
        nn.Flatten(),
        nn.Linear(150, 7),
    )
    expected = 25 * 27 * 4 + 25 * 9 * 4 + 25 * 4 * 6 + 150 * 7
    assert count_multiply_adds(network, (3, 10, 9)) == expected
    network.train()
    count_multiply_adds(network, (3, 10, 9))
    assert network.training
    assert not network[0]._forward_hooks


def test_the_cost_of_a_student_and_of_its_teacher(home):
    teacher, student, _ = home.result.competitors
    assert 13_000 < student.cost.parameters <= 15_000
    assert student.cost.size > 4 * student.cost.parameters
    assert teacher.cost.parameters >= 360 * 64  # it keeps its training images
    assert student.seconds > 0
    assert teacher.seconds > 0
    assert measure_cost(home.result.classifier) == student.cost


def test_counts_in_short():
    assert [format_number(n) for n in (None, 7, 14_522, 2_500_000)] == ["?", "7", "14.5k", "2.5M"]
