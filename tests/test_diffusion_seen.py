"""No image is judged by a network that learnt from it."""

import hashlib

import numpy as np
import pytest
import torch

from ilk.diffusion import seen
from ilk.diffusion.chosen import Chosen, chosen
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.unet import UNet
from ilk.errors import ArtefactError, InputError


def pictures(n=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 4, 4), np.uint8)


def digests(n=40, seed=0):
    return [hashlib.sha256(f"{seed} {i}".encode()).hexdigest() for i in range(n)]


def test_a_mark_is_the_first_eight_bytes_of_the_digest_of_the_pixels():
    x = pictures(3)
    want = [int.from_bytes(hashlib.sha256(i.tobytes()).digest()[:8], "little") for i in x]
    assert [int(m) % 2**64 for m in seen.marks(x)] == want


def test_marks_hang_on_the_pixels_alone():
    x = pictures()
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(seen.marks(x[order]), seen.marks(x)[order])
    np.testing.assert_array_equal(seen.marks(x[:, :, ::-1][:, :, ::-1]), seen.marks(x))
    assert len(set(seen.marks(x).tolist())) == len(x)


def test_a_seen_image_is_judged_by_the_network_that_left_its_part_out():
    x, new = pictures(), pictures(seed=1)
    held = seen.Seen.of(x, digests(), folds=3)
    part = held.part(seen.marks(x))
    np.testing.assert_array_equal(part, seen.part_of(seen.marks(x), 3))
    assert set(part.tolist()) == {0, 1, 2}
    assert (held.part(seen.marks(new)) == -1).all()
    assert held.fair(digests()).all()


def test_without_such_networks_what_was_learnt_from_cannot_be_judged():
    held = seen.Seen.of(pictures(), digests(), folds=0)
    assert (held.part(seen.marks(pictures())) == -1).all()
    mixed = [*digests()[:3], *digests(seed=1)[:2]]
    assert held.fair(mixed).tolist() == [False, False, False, True, True]


def test_it_is_kept_and_found(tmp_path):
    held = seen.Seen.of(pictures(), digests(), folds=3)
    held.save(tmp_path)
    found = seen.load(tmp_path)
    np.testing.assert_array_equal(found.pixels, held.pixels)
    np.testing.assert_array_equal(found.files, held.files)
    assert found.folds == 3


def test_a_folder_without_a_record_has_seen_nothing(tmp_path):
    assert seen.load(tmp_path).fair(digests()).all()
    (tmp_path / seen.FILE).write_bytes(b"no safetensors")
    with pytest.raises(ArtefactError, match="cannot be read"):
        seen.load(tmp_path)


def denoiser():
    torch.manual_seed(0)
    network = Denoiser(UNet(1, 8, 3, 8, [1]), (1, 8, 8), ("a", "b", "c"))
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return network.eval()


def test_chosen_classes_are_told_as_the_network_knows_them():
    whole = denoiser()
    some = Chosen(whole, ("c", "a"))
    assert some.condition(torch.tensor([0, 1, -1])).tolist() == [2, 0, 3]
    x, sigma = torch.randn(2, 1, 8, 8), torch.ones(2)
    with torch.no_grad():
        ours = some.denoise(x, sigma, some.condition(torch.tensor([0, 1])))
        theirs = whole.denoise(x, sigma, whole.condition(torch.tensor([2, 0])))
    torch.testing.assert_close(ours, theirs)
    assert some.spread == whole.spread
    assert chosen(whole, None) is whole
    assert chosen(whole, ("a", "b", "c")) is whole


def test_a_class_that_the_network_does_not_know_is_named():
    with pytest.raises(InputError, match=r"knows 3 classes \('a', 'b', 'c'\) and not 'd'"):
        Chosen(denoiser(), ("a", "d"))
