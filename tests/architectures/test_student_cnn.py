"""Students are as small as their names say, on images of every size."""

from importlib import import_module

import pytest
import torch

from ilk.architectures.student_cnn import SIZES, make_student, plan_strides
from ilk.core.errors import InputError, UnknownName
from ilk.encoders.tuned_network import build_student, list_students
from ilk.training.student_features import remove_head

every = pytest.mark.parametrize("name", SIZES)


@every
@pytest.mark.parametrize("channels", [1, 3])
def test_a_student_has_no_more_parameters_than_its_name_says(name, channels):
    number, unit = float(name[4:-1]), {"k": 1e3, "m": 1e6}[name[-1]]
    bound = number * unit
    assert SIZES[name].bound == bound
    n = sum(p.numel() for p in make_student(name, 10, channels, 28).parameters())
    assert 0.8 * bound < n <= bound


@every
@pytest.mark.parametrize("size", [8, 28, 32, 64, 96, (40, 100)])
def test_a_student_answers_images_of_every_size(name, size):
    if name == "cnn-5m" and size == 96:
        return  # as 64, and slower
    sides = (size, size) if isinstance(size, int) else size
    network = make_student(name, 4, 3, size).eval()
    assert network(torch.zeros(2, 3, *sides)).shape == (2, 4)
    assert network.forward_features(torch.zeros(2, 3, *sides)).shape == (2, network.n_features)


@pytest.mark.parametrize("side", [8, 15, 28, 32, 33, 64, 96, 224, 1000])
def test_the_last_features_are_four_to_seven_pixels_wide(side):
    for n_layers in (4, 6):
        pool, strides = plan_strides(side, n_layers)
        assert len(strides) == n_layers
        factor = pool * torch.tensor(strides).prod().item()
        assert 4 <= side / factor < 8


def test_a_grey_student_takes_colour_images_as_grey_ones():
    network = make_student("cnn-15k", 3, 1, 28).eval()
    grey = torch.randn(2, 1, 28, 28)
    with torch.inference_mode():
        one, three = network(grey), network(grey.expand(2, 3, 28, 28))
        red = grey.expand(2, 3, 28, 28).clone()
        red[:, 1:] = 0
        other = network(red)
    torch.testing.assert_close(one, three, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other, network(0.299 * grey), rtol=1e-5, atol=1e-5)


def test_the_seed_alone_decides_the_weights():
    torch.manual_seed(1)
    one = make_student("cnn-15k", 3, 1, 28, seed=5)
    torch.manual_seed(2)
    drawn = torch.rand(3)
    torch.manual_seed(2)
    other = make_student("cnn-15k", 3, 1, 28, seed=5)
    assert torch.equal(torch.rand(3), drawn)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    different = make_student("cnn-15k", 3, 1, 28, seed=6)
    assert not torch.equal(one.fc.weight, different.fc.weight)


def test_bad_names_and_sizes_are_refused():
    with pytest.raises(UnknownName, match="cnn-15k"):
        make_student("cnn-15", 3, 1, 28)
    with pytest.raises(InputError, match="7 x 30 pixels are smaller"):
        make_student("cnn-15k", 3, 1, (7, 30))
    with pytest.raises(InputError, match="1 or 3 channels, not 4"):
        make_student("cnn-15k", 3, 4, 28)


@pytest.mark.parametrize("name", list_students())
def test_every_student_has_a_linear_head_on_its_features(name):
    if name in ("cnn-1m", "cnn-5m"):
        return  # as cnn-100k, and slower
    settings = {"channels": 3, "size": [32, 32]}
    student = import_module(list_students()[name]).make_student(name, 4, **settings).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        features = student.forward_features(x)
        torch.testing.assert_close(student.fc(features), student(x))
        torch.testing.assert_close(remove_head(student)(x), features)
    assert isinstance(student.fc, torch.nn.Linear)
    names = set(build_student(name, settings).state_dict())
    assert names == {n for n in student.state_dict() if not n.startswith("fc.")}
