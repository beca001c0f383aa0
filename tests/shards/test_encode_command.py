"""`ilk encode`: any number of jobs, killed at any moment, and the rows are there exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from helpers.noise_images import noise, write_two_classes
from ilk.cli import run
from ilk.core.errors import InputError
from ilk.shards.features import ShardedFeatures
from ilk.shards.manifest import Manifest

ENCODER = ("--encoder", "pixels/4x4x3")
SLOW = """
import sys, time
from ilk.images.pixels import PixelEncoder
from ilk.cli import run
embed = PixelEncoder.embed
def slow(self, batch):
    time.sleep(0.02)
    return embed(self, batch)
PixelEncoder.embed = slow
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def many(tmp_path):
    home = tmp_path / "many"
    write_two_classes(home, (noise(6, 6, i) for i in range(120)), digits=3)
    return home


def _encode(*args):
    return run(["encode", *map(str, args)])


def _encode_json(capsys, *args):
    capsys.readouterr()
    code = _encode(*args, "--json")
    return code, json.loads(capsys.readouterr().out)


def _start(*args):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, "encode", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _read(folder):
    features = ShardedFeatures.open(folder)
    return features.memory_map().copy(), features.digests.tolist()


@pytest.fixture
def expected(many, tmp_path):
    assert _encode(many, "--out", tmp_path / "whole", *ENCODER, "--shard-size", 10) == 0
    return _read(tmp_path / "whole")


def _check(folder, expected):
    x, digests = _read(folder)
    np.testing.assert_array_equal(x, expected[0])
    assert digests == expected[1]
    parts = list((folder / "features").rglob("part-*.parquet"))
    assert len(parts) == Manifest.read(folder).n_shards
    assert [p for p in folder.rglob("*") if p.name.startswith(".")] == []


def test_killed_at_any_moment_the_command_repeated_completes(many, expected, tmp_path, capsys):
    out = tmp_path / "shards"
    args = (many, "--out", out, *ENCODER, "--shard-size", 10)
    counts = []
    for n_parts in (0, 2, 5, 9):
        running = _start(*args)
        while len(list(out.rglob("part-*.parquet"))) < n_parts and running.poll() is None:
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        counts.append(len(list(out.rglob("part-*.parquet"))))
    assert counts[1] < counts[3] <= 12
    assert run(["encode", *map(str, args)]) == 0
    _check(out, expected)
    code, found = _encode_json(capsys, out, "--verify")
    assert (code, found["encoders"][0]["rows"]) == (0, 120)


def test_two_processes_on_the_same_shards_do_no_harm(many, expected, tmp_path):
    out = tmp_path / "shards"
    assert _encode(many, "--out", out, "--list-only", "--shard-size", 10) == 0
    both = [_start(out, *ENCODER) for _ in range(2)]
    for one in both:
        output, error = one.communicate(timeout=120)
        assert one.returncode == 0, output + error
    _check(out, expected)


def test_jobs_encode_their_shards_and_verify_says_what_is_missing(many, expected, tmp_path, capsys):
    out = tmp_path / "shards"
    for job in ("3/3", "1/3"):
        args = (many, "--out", out, *ENCODER, "--shard-size", 10, "--shard", job)
        code, found = _encode_json(capsys, *args)
        assert (code, found["encoders"][0]["rows"], found["job"]) == (0, 40, job)
    code, found = _encode_json(capsys, out, "--verify")
    assert (code, found["encoders"][0]["missing"]) == (1, [1, 4, 7, 10])
    assert _encode(out, "--verify") == 1
    assert "the parts hold 80 of the 120 rows" in capsys.readouterr().err
    assert _encode(out, "--shard", "2/3") == 0  # the encoder is that of the folder
    _check(out, expected)


def test_jobs_do_not_list_the_images_again(many, tmp_path, capsys):
    out = tmp_path / "shards"
    assert _encode(many, "--out", out, "--list-only", "--shard-size", 10) == 0
    noise(6, 6, 500).save(many / "cat" / "late.png")
    assert _encode(many, "--out", out, *ENCODER, "--shard", "1/1") == 0
    assert Manifest.read(out).n_rows == 120
    assert _encode(many, "--out", out) == 0
    assert "new: 1 image in 1 new shard\n" in capsys.readouterr().out
    assert ShardedFeatures.open(out).is_used.sum() == 121


def test_the_result_says_rate_bottleneck_and_cost(many, tmp_path, capsys):
    code, found = _encode_json(capsys, many, "--out", tmp_path / "s", *ENCODER)
    one = found["encoders"][0]
    assert code == 0
    assert set(one["busy_seconds"]) == {"reading", "decoding", "network", "writing"}
    assert one["bottleneck"] in one["busy_seconds"]
    assert one["images_per_second"] > 0
    busy = sum(one["busy_seconds"].values())
    assert one["core_hours_per_million"] == pytest.approx(busy / 120 * 1e6 / 3600)
    code, found = _encode_json(capsys, tmp_path / "s")  # done: nothing is counted as encoded
    one = found["encoders"][0]
    assert (code, one["encoded_now"], one["core_hours_per_million"]) == (0, 0, None)


def test_what_comes_next_is_said_and_a_million_is_not_extrapolated_from_few_images(
    many, tmp_path, capsys
):
    out = tmp_path / "my shards"
    assert _encode(many, "--out", out, "--list-only", "--shard-size", 60) == 0
    listed = capsys.readouterr().out
    assert "listed 120 images in 2 shards" in listed
    assert f"ilk encode '{out}' --encoder NAME --shard I/N" in listed
    assert _encode(out, *ENCODER, "--shard", "1/2") == 0
    one = capsys.readouterr().out
    assert "60 images in 1 shard of 2 (job 1/2)" in one
    assert f"ilk encode '{out}' --verify" in one
    assert _encode(out) == 0
    both = capsys.readouterr().out
    assert f"ilk fit '{out}' --out MODEL" in both
    assert f"ilk search '{out}' IMAGE" in both
    assert "a million" not in one + both


@pytest.mark.parametrize("command", ["check", "duplicates", "rank", "audit"])
def test_commands_that_read_images_refuse_a_shard_folder_in_one_sentence(
    command, many, tmp_path, capsys
):
    out = tmp_path / "shards"
    assert _encode(many, "--out", out, *ENCODER) == 0
    capsys.readouterr()
    assert run([command, str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"ilk: {out} is a shard folder, which holds")
    assert captured.err.count("\n") == 1


def test_features_are_found_by_the_short_name_of_their_encoder(many, tmp_path, capsys):
    out, query = tmp_path / "shards", next(many.rglob("*.png"))
    assert _encode(many, "--out", out, *ENCODER, "--encoder", "hog") == 0
    assert _encode(out, "--verify", "--encoder", "hog") == 0
    assert run(["search", str(out), str(query), "--encoder", "hog", "--count", "2"]) == 0
    assert "encoded by hog/32" in capsys.readouterr().out
    assert run(["search", str(out), str(query)]) == 2
    assert "name one with --encoder NAME" in capsys.readouterr().err
    assert run(["search", str(out), str(query), "--encoder", "pixels/2x2x3"]) == 2
    assert "no features of pixels/2x2x3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("{many}",), 2, "name the shard folder to write with --out"),
        (("{many}", "--out", "{many}/s", "--encoder", "hog"), 5, "files are read as images"),
        (("{many}", "--out", "{tmp}/s"), 2, "choose an encoder for the images of"),
        (("{many}", "--out", "{tmp}/s", "--encoder", "pixel"), 2, "no encoder is called 'pixel'"),
        (("{tmp}/none", "--out", "{tmp}/s", "--encoder", "hog"), 2, "there is no folder or file"),
        (("{many}", "--out", "{tmp}/s", "--shard", "0/4"), 2, "the first job is 1/4"),
        (("{many}", "--out", "{tmp}/s", "--on", "mars"), 2, "--on is mars"),
        (("{many}", "--out", "{tmp}/s", "--verify"), 2, "is not a shard folder"),
        (("{many}", "--out", "s3://b/s", "--encoder", "hog"), 2, "is an address in a bucket"),
    ],
)
def test_bad_input_is_one_sentence(many, tmp_path, capsys, args, code, message):
    given = [arg.format(many=many, tmp=tmp_path) for arg in args]
    assert _encode(*given) == code
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if line.startswith("ilk:")]) == 1
    assert message in error[-1]


def test_no_store_is_opened(many, tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_STORE", os.fspath(tmp_path / "store" / "store.sqlite"))
    assert _encode(many, "--out", tmp_path / "s", *ENCODER) == 0
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("encoder", [(), ("--encoder", "nosuch")])
def test_nothing_is_written_without_an_encoder_that_exists(many, tmp_path, capsys, encoder):
    assert _encode(many, "--out", tmp_path / "s", "--shard-size", 7, *encoder) == 2
    assert "encoder" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_an_encoder_may_be_named_in_short(many, tmp_path):
    assert _encode(many, "--out", tmp_path / "s", "--encoder", "hog") == 0
    assert ShardedFeatures.open(tmp_path / "s", "hog").space.name == "hog/32"
    assert _encode(tmp_path / "s", "--encoder", "hog/64") == 0
    assert ShardedFeatures.open(tmp_path / "s", "hog/64").space.name == "hog/64"
    with pytest.raises(InputError, match="2 encoders"):
        ShardedFeatures.open(tmp_path / "s", "hog")
