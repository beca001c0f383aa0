"""The mapped copy of the features, and shards of a table: what a fit and a search make of them."""

from __future__ import annotations

import os

import numpy as np
import pytest

import ilk
from helpers.noise_images import noise
from ilk.architectures.metric_head import MetricHead
from ilk.cli import run
from ilk.core.errors import InputError
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned_folder import TunedEmbedding, pack_digests, take_weights, write_tuned
from ilk.images import read_images
from ilk.shards.features import ShardedFeatures

ENCODER = ("--encoder", "pixels/4x4x3")


@pytest.fixture
def shards(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    assert run(["encode", str(photos), "--out", str(tmp_path / "s"), *ENCODER]) == 0
    return tmp_path / "s"


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "pipe", "no fingerprint"])
def test_a_damaged_copy_of_the_features_is_made_again(damage, shards):
    expected = np.array(ShardedFeatures.open(shards).memory_map())
    (copy,) = shards.glob("features/*/features-*.npy")
    content = copy.read_bytes()
    if damage == "cut":
        copy.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        k = len(content) // 2
        copy.write_bytes(content[:k] + bytes([content[k] ^ 255]) + content[k + 1 :])
    elif damage == "text":
        copy.write_text("a text")
    elif damage == "pipe":
        copy.unlink()
        os.mkfifo(copy)
    else:
        copy.with_suffix(".json").unlink()
    np.testing.assert_array_equal(ShardedFeatures.open(shards).memory_map(), expected)
    assert copy.read_bytes() == content


def test_a_named_pipe_in_place_of_a_part_is_refused(shards, capsys):
    (part,) = shards.glob("features/*/part-*.parquet")
    part.unlink()
    os.mkfifo(part)
    assert run(["search", str(shards), "--class", "cat"]) == 4
    assert "part-00000.parquet is" in capsys.readouterr().err
    (space,) = shards.glob("features/*/space.json")
    space.unlink()
    os.mkfifo(space)
    assert run(["encode", str(shards), "--verify"]) in (2, 4)


def test_a_model_of_shards_of_a_table_may_lie_beside_the_table(tmp_path, monkeypatch, capsys):
    """The folder of a table is no folder all of whose files are images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    lines = ["path,label"]
    for i in range(24):
        noise(6, 6, i).save(f"{i}.png")
        lines.append(f"{i}.png,{'ab'[i % 2]}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    assert run(["encode", "table.csv", "--out", "s", *ENCODER]) == 0
    assert run(["fit", "s", "--out", "kinds", "--method", "NearestClassMean"]) == 0
    assert (tmp_path / "kinds" / "model.json").is_file()


def test_a_model_may_not_lie_among_the_images_of_shards_and_this_is_said_first(
    shards, photos, capsys, monkeypatch
):
    def fail(*_args, **_settings):
        raise AssertionError("the fit began")

    monkeypatch.setattr("ilk.fitting.out_of_core.fit.fit_shards_with_report", fail)
    assert run(["fit", str(shards), "--out", str(photos / "kinds")]) == 5
    assert "lies in" in capsys.readouterr().err


def test_a_fit_out_of_core_does_not_judge_an_embedding_on_its_training_images(
    photos, tmp_path, monkeypatch, capsys
):
    """In memory such methods are not evaluated; out of core they were, as if it were fair."""
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    network = MetricHead(48, 4)
    base = resolve_encoder("pixels/4x4x3")
    rows = read_images(photos, verify=True).used
    trained_on = pack_digests([row.digest for row in rows])
    embedding = TunedEmbedding(base.describe(), *take_weights(network), trained_on=trained_on)
    write_tuned(tmp_path / "tuned", embedding)
    name = f"tuned:{tmp_path / 'tuned'}"
    assert run(["encode", str(photos), "--out", str(tmp_path / "s"), "--encoder", name]) == 0
    capsys.readouterr()
    out = str(tmp_path / "kinds")
    assert run(["fit", str(tmp_path / "s"), "--out", out, "--memory", "0.000001"]) == 2
    assert "was trained on 17 of these 17 images" in capsys.readouterr().err


def test_duplicates_are_not_silently_left_out_of_a_fit_out_of_core(shards):
    with pytest.raises(InputError, match=r"group_from.* duplicates .* in memory only"):
        ilk.fit(shards, memory=1e-6, group_from="duplicates")
