"""No image is judged by a network that learnt from it."""

import hashlib

import numpy as np
import pytest
import torch

from ilk.core.errors import ArtifactError, InputError
from ilk.diffusion.checkpoint import training_images as seen
from ilk.diffusion.classification.class_subset import ClassSubset, select_classes
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.networks.unet import UNet


def pictures(n=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 4, 4), np.uint8)


def digests(n=40, seed=0):
    return [hashlib.sha256(f"{seed} {i}".encode()).hexdigest() for i in range(n)]


def test_a_mark_is_the_first_eight_bytes_of_the_digest_of_the_pixels():
    x = pictures(3)
    want = [int.from_bytes(hashlib.sha256(i.tobytes()).digest()[:8], "little") for i in x]
    assert [int(m) % 2**64 for m in seen.hash_images(x)] == want


def test_marks_hang_on_the_pixels_alone():
    x = pictures()
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(seen.hash_images(x[order]), seen.hash_images(x)[order])
    np.testing.assert_array_equal(seen.hash_images(x[:, :, ::-1][:, :, ::-1]), seen.hash_images(x))
    assert len(set(seen.hash_images(x).tolist())) == len(x)


def test_a_seen_image_is_judged_by_the_network_that_left_its_part_out():
    x, new = pictures(), pictures(seed=1)
    held = seen.TrainingImages.from_images(x, digests(), folds=3)
    part = held.find_held_out_fold(seen.hash_images(x))
    np.testing.assert_array_equal(part, seen.assign_folds(seen.hash_images(x), 3))
    assert set(part.tolist()) == {0, 1, 2}
    assert (held.find_held_out_fold(seen.hash_images(new)) == -1).all()
    assert held.is_held_out(digests()).all()


def test_without_such_networks_what_was_learnt_from_cannot_be_judged():
    held = seen.TrainingImages.from_images(pictures(), digests(), folds=0)
    assert (held.find_held_out_fold(seen.hash_images(pictures())) == -1).all()
    mixed = [*digests()[:3], *digests(seed=1)[:2]]
    assert held.is_held_out(mixed).tolist() == [False, False, False, True, True]


def test_it_is_kept_and_found(tmp_path):
    held = seen.TrainingImages.from_images(pictures(), digests(), folds=3)
    held.save(tmp_path)
    found = seen.load(tmp_path)
    np.testing.assert_array_equal(found.pixel_hashes, held.pixel_hashes)
    np.testing.assert_array_equal(found.file_hashes, held.file_hashes)
    assert found.folds == 3


def test_a_folder_without_a_record_has_seen_nothing(tmp_path):
    assert seen.load(tmp_path).is_held_out(digests()).all()
    (tmp_path / seen.FILE).write_bytes(b"no safetensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        seen.load(tmp_path)


def denoiser():
    torch.manual_seed(0)
    network = Denoiser(UNet(1, 8, 3, 8, [1]), (1, 8, 8), ("a", "b", "c"))
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return network.eval()


def test_chosen_classes_are_told_as_the_network_knows_them():
    whole = denoiser()
    some = ClassSubset(whole, ("c", "a"))
    assert some.condition(torch.tensor([0, 1, -1])).tolist() == [2, 0, 3]
    x, sigma = torch.randn(2, 1, 8, 8), torch.ones(2)
    with torch.no_grad():
        ours = some.denoise(x, sigma, some.condition(torch.tensor([0, 1])))
        theirs = whole.denoise(x, sigma, whole.condition(torch.tensor([2, 0])))
    torch.testing.assert_close(ours, theirs)
    assert some.sigma_data == whole.sigma_data
    assert select_classes(whole, None) is whole
    assert select_classes(whole, ("a", "b", "c")) is whole


def test_a_class_that_the_network_does_not_know_is_named():
    with pytest.raises(InputError, match=r"knows 3 classes \('a', 'b', 'c'\) and not 'd'"):
        ClassSubset(denoiser(), ("a", "d"))


def test_a_group_is_in_one_fold_and_with_it_what_shares_a_picture():
    x = np.concatenate([pictures(), pictures()[:1]])  # the last is the first again
    hashes, n = seen.hash_images(x), len(x)
    groups = np.arange(n) // 2
    fold = seen.assign_folds(hashes, 3, groups)
    for g in np.unique(groups):
        assert len(np.unique(fold[groups == g])) == 1
    assert fold[-1] == fold[0]
    names = [f"{i:016x}" + "0" * 48 for i in range(n)]
    held = seen.TrainingImages.from_images(x, names, 3, fold)
    np.testing.assert_array_equal(held.find_held_out_fold(hashes), fold)
    assert held.is_held_out(names, groups).all()
    crossed = np.zeros(n, np.int64)  # one group for all: no network excluded it
    assert held.is_held_out(names, crossed).all() == (len(np.unique(fold)) == 1)


def test_folds_by_picture_do_not_hold_out_groups(tmp_path):
    held = seen.TrainingImages.from_images(pictures(), digests(), folds=3)
    held.save(tmp_path)
    loaded = seen.load(tmp_path)
    together, alone = np.zeros(len(digests()), np.int64), np.full(len(digests()), -1)
    assert not loaded.is_held_out(digests(), together).any()
    assert loaded.is_held_out(digests(), alone).all()
    new = ["f" * 64]  # not trained on, but of a group that was
    assert loaded.is_held_out([digests()[0], *new], np.array([4, 4])).tolist() == [False, False]
