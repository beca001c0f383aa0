"""The selective scan against its recurrence written out, and what a block may see."""

import pytest
import torch

from ilk.architectures.mamba import (
    STUDENTS,
    MambaBlock,
    MambaStudent,
    make_student,
    scan_by_doubling,
    scan_in_order,
)
from ilk.core.errors import InputError, UnknownName
from ilk.encoders.tuned_network import build_student


def make_recurrence(length=11):
    generator = torch.Generator().manual_seed(0)
    shape = (2, length, 3, 2)
    decay = torch.rand(shape, generator=generator, dtype=torch.float64)
    drive = torch.randn(shape, generator=generator, dtype=torch.float64)
    return decay, drive


def unroll(decay, drive):
    """h_t as the sum over s <= t of drive_s times the decays after s: no recurrence."""
    states = torch.zeros_like(drive)
    for t in range(drive.shape[1]):
        for s in range(t + 1):
            states[:, t] += decay[:, s + 1 : t + 1].prod(1) * drive[:, s]
    return states


@pytest.mark.parametrize("length", [1, 2, 8, 11])
@pytest.mark.parametrize("scan", [scan_in_order, scan_by_doubling])
def test_both_scans_are_the_sum_over_earlier_positions(scan, length):
    decay, drive = make_recurrence(length)
    torch.testing.assert_close(scan(decay, drive), unroll(decay, drive))
    with torch.inference_mode():
        torch.testing.assert_close(scan(decay, drive), unroll(decay, drive))


def test_gradients_of_both_scans_are_those_of_finite_differences():
    decay, drive = (t[:1, :5].requires_grad_() for t in make_recurrence())
    assert torch.autograd.gradcheck(scan_in_order, (decay, drive))
    assert torch.autograd.gradcheck(scan_by_doubling, (decay, drive))


def test_a_block_is_its_recurrence_written_token_by_token():
    torch.manual_seed(0)
    block = MambaBlock(16, n_states=4).double()
    x = torch.randn(3, 9, 16, dtype=torch.float64)
    found = block(x)
    weight, bias = block.convolution.weight[:, 0], block.convolution.bias
    branches = block.norm(x) @ block.into.weight.T
    u, z = branches[..., :32], branches[..., 32:]
    state, decay = torch.zeros(3, 32, 4, dtype=torch.float64), -block.log_decay.exp()
    for t in range(9):
        mixed = bias + sum(weight[:, 3 - j] * u[:, t - j] for j in range(4) if t >= j)
        mixed = mixed * torch.sigmoid(mixed)
        selected = mixed @ block.select.weight.T
        rank, into, out = selected[:, :1], selected[:, 1:5], selected[:, 5:]
        step = torch.log1p((rank @ block.step.weight.T + block.step.bias).exp())
        state = (step[:, :, None] * decay).exp() * state + (
            step[:, :, None] * into[:, None, :] * mixed[:, :, None]
        )
        y = (state * out[:, None, :]).sum(2) + block.skip * mixed
        y = (y * z[:, t] * torch.sigmoid(z[:, t])) @ block.out.weight.T
        torch.testing.assert_close(found[:, t], x[:, t] + y)


def test_a_block_sees_no_later_token_and_every_earlier_one():
    torch.manual_seed(1)
    block = MambaBlock(16)
    x = torch.randn(1, 12, 16, requires_grad=True)
    for t in (0, 5, 11):
        [gradient] = torch.autograd.grad(block(x)[0, t].sum(), x)
        reached = gradient[0].abs().sum(1) > 0
        assert reached.tolist() == [s <= t for s in range(12)]


def test_steps_start_in_their_range_and_decays_at_the_first_integers():
    torch.manual_seed(0)
    block = MambaBlock(32)
    steps = torch.nn.functional.softplus(block.step.bias).detach()
    assert 0.9e-3 < float(steps.min()) < 3e-3
    assert 3e-2 < float(steps.max()) < 1.1e-1
    torch.testing.assert_close(block.log_decay[0].exp(), torch.arange(1.0, 9.0))


def test_a_student_reads_rows_in_order_and_colours_as_grey():
    student = MambaStudent(16, 2, 5, 1, (28, 20))
    x = torch.rand(2, 1, 28, 20)
    assert student.forward_features(x).shape == (2, student.n_features)
    torch.testing.assert_close(student(x.expand(2, 3, 28, 20)), student(x), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(student(x.flip(2)), student(x))
    large = MambaStudent(8, 1, 3, 3, (100, 90))
    assert large(torch.rand(1, 3, 100, 90)).shape == (1, 3)
    assert len(large.position) == 25  # rows of 4 pixels
    torch.manual_seed(7)
    first = MambaStudent(16, 1, 5, 1, (28, 28), seed=3).state_dict()
    torch.manual_seed(8)
    again = MambaStudent(16, 1, 5, 1, (28, 28), seed=3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_multiplications_by_hand():
    student = MambaStudent(16, 1, 10, 1, (28, 28))
    layers = 16 * 64 + 32 * 17 + 1 * 32 + 32 * 16  # into, select, step, out
    scan = 32 * 8 * 5 + 32 * 2
    by_hand = 28 * (28 * 16 + layers + 32 * 4 + scan) + 16 * 10
    assert student.count_multiply_adds() == by_hand


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="images of 7 x 28 pixels are smaller"):
        MambaStudent(8, 1, 3, 1, (7, 28))
    with pytest.raises(InputError, match="images of 1 or 3 channels, not 4"):
        MambaStudent(8, 1, 3, 4, (28, 28))


@pytest.mark.parametrize(("name", "bound"), [("mamba-15k", 15_000), ("mamba-100k", 100_000)])
def test_students_by_name_have_at_most_so_many_parameters(name, bound):
    student = make_student(name, 10, 3, 32)
    assert 0.8 * bound < sum(p.numel() for p in student.parameters()) <= bound
    features = build_student(name, {"channels": 3, "size": [32, 32]})
    features.load_state_dict(
        {k: v for k, v in student.state_dict().items() if not k.startswith("fc.")}
    )
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(student.fc(features(x)), student(x))


def test_names_of_students():
    assert {"mamba-15k", "mamba-100k"} == set(STUDENTS)
    with pytest.raises(UnknownName):
        make_student("mamba-1k", 10, 3, 32)
