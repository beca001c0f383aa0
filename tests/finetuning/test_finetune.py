"""`ilk finetune` on small pictures with a small network: what is kept, resumed and refused."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from helpers.striped_images import write_network, write_stripes
from ilk.cli import run as run_ilk
from ilk.cli.finetune import command
from ilk.core.errors import InputError, NoLabels, OutputError, UnknownName
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned_checkpoint import TunedCheckpoint
from ilk.encoders.tuned_network import read_tuned_network
from ilk.finetuning import from_images, trial
from ilk.finetuning.base import open_splitter
from ilk.finetuning.judge import Answers
from ilk.finetuning.result import Candidate, choose, compare_candidates, summarize
from ilk.training.objective import Objective

FAST = ["--updates", "8", "--batch-size", "16", "--runtime", "torch"]


def finetune(*args):
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("stripes") / "d")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("network") / "n")


@pytest.fixture(scope="module")
def tuned(stripes, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "tuned"
    finetune(stripes, "--encoder", encoder, "--out", folder, "--layers", "1", *FAST, "--force")
    return folder


def list_files(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != ".ilk.lock")


def test_only_what_was_tuned_is_written(tuned, encoder):
    found = read_tuned_network(tuned)
    assert found.kind == "network"
    assert found.base["name"] == encoder
    base = resolve_encoder(encoder).checkpoint.build_network().state_dict()
    assert set(found.arrays) < set(base)
    assert any(not np.array_equal(a, base[n].numpy()) for n, a in found.arrays.items())
    assert list_files(tuned) == ["tuned.json", "weights.safetensors"]


def test_the_images_held_out_are_those_not_trained_on(tuned, stripes):
    found = read_tuned_network(tuned)
    assert len(found.trained_on) == 80  # of 120, a third is held out
    assert found.results["gain"]["images"] == 120 - len(found.trained_on)


def test_the_frozen_network_stands_beside_it(stripes, encoder, tmp_path, capsys):
    out = tmp_path / "t"
    finetune(
        stripes, "--encoder", encoder, "--out", out, "--layers", "1", "--layers", "all", *FAST,
        "--force", "--json",
    )  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    names = [c["name"] for c in result["candidates"]]
    assert names[0] == "frozen"
    assert names[1].startswith("last block of ")
    assert names[2].startswith("all ")
    assert result["chosen"] in names
    assert result["candidates"][0]["trained_parameters"] == 0
    assert (
        0
        < result["candidates"][1]["trained_parameters"]
        < result["candidates"][2]["trained_parameters"]
    )
    assert all(c["seconds"] > 0 and c["training_bytes"] > 0 for c in result["candidates"][1:])
    assert "95 % interval" in result["notes"][0]
    assert "trained " in result["notes"][0]


def test_without_a_gain_nothing_is_written(stripes, encoder, tmp_path, capsys):
    out = tmp_path / "t"
    finetune(
        stripes, "--encoder", encoder, "--out", out, *FAST, "--layers", "1", "--lr", "1e-9",
    )  # fmt: skip
    assert not (out / "tuned.json").exists()
    output = capsys.readouterr().out
    assert "tuning did not pay" in output
    assert "nothing was written" in output


def test_a_clear_gain_is_kept(stripes, encoder, tmp_path, capsys):
    out = tmp_path / "t"
    faint = write_stripes(tmp_path / "faint", per_class=150, contrast=25)
    finetune(
        faint, "--encoder", encoder, "--out", out, "--layers", "all", "--updates", "150",
        "--lr", "0.005", "--runtime", "torch",
    )  # fmt: skip
    assert "tuning paid" in capsys.readouterr().out
    assert (out / "tuned.json").exists()


def test_a_killed_run_ends_at_the_same_bits(stripes, encoder, tuned, tmp_path, monkeypatch):
    from ilk.training.checkpoint import TrainState

    class KilledError(Exception):
        pass

    out, save = tmp_path / "t", TrainState.save

    def save_and_die(self, path, step):
        save(self, path, step)
        if step >= 4:
            raise KilledError

    args = (stripes, "--encoder", encoder, "--out", out, "--layers", "1", *FAST, "--force")
    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "save", save_and_die)
        with pytest.raises(KilledError):
            finetune(*args)
    assert not (out / "tuned.json").exists()
    assert (out / from_images.WORK).is_dir()
    finetune(*args)
    ours, theirs = read_tuned_network(out), read_tuned_network(tuned)
    assert all(np.array_equal(ours.arrays[n], theirs.arrays[n]) for n in theirs.arrays)
    assert list_files(out) == list_files(tuned)


class Exploding(Objective):
    """A loss that is no number from the fourth update on."""

    def forward(self, network, batch, step):
        loss = network(batch.x).square().mean()
        return loss * float("nan") if step.index >= 3 else loss


def test_a_loss_that_is_no_number_leaves_the_last_good_state(
    stripes, encoder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(trial, "CrossEntropy", Exploding)
    out = tmp_path / "t"
    finetune(stripes, "--encoder", encoder, "--out", out, "--layers", "1", *FAST, "--force")
    assert all(np.isfinite(a).all() for a in read_tuned_network(out).arrays.values())
    assert "gradient is not finite" in capsys.readouterr().out


def test_a_full_disk_loses_nothing(stripes, encoder, tuned, tmp_path, monkeypatch):
    from ilk.training import checkpoint

    out = tmp_path / "t"
    shutil.copytree(tuned, out)
    before = (out / "weights.safetensors").read_bytes()

    def fail(_path, _write):
        raise OutputError(f"cannot write {_path}: No space left on device")

    monkeypatch.setattr(checkpoint, "replace_atomically", fail)
    with pytest.raises(OutputError, match="No space left"):
        finetune(stripes, "--encoder", encoder, "--out", out, "--layers", "1", *FAST, "--force")
    assert (out / "weights.safetensors").read_bytes() == before
    assert resolve_encoder(f"tuned:{out}").space.key == resolve_encoder(f"tuned:{tuned}").space.key


def test_a_wrapper_holds_only_its_own_parameters(stripes, encoder, tmp_path):
    from ilk.peft import get_state, parse_wrapper

    out = tmp_path / "t"
    finetune(
        stripes, "--encoder", encoder, "--out", out, *FAST, "--peft", "LoRA(rank=2)", "--force",
        "--lr", "0.01",
    )  # fmt: skip
    found = read_tuned_network(out)
    assert found.kind == "wrapper"
    assert found.wrapper == "LoRA(rank=2)"
    base = resolve_encoder(encoder).checkpoint.build_network()
    original = {n: t.clone() for n, t in base.state_dict().items()}
    wrapper = parse_wrapper(found.wrapper)
    wrapped = wrapper.apply(resolve_encoder(encoder).checkpoint.build_network())
    assert set(found.arrays) == set(get_state(wrapped))
    x = torch.rand(2, 3, 16, 16)
    found = replace(found, arrays={n: a + np.float32(0.1) for n, a in found.arrays.items()})
    apart, merged = found.build_network(base, merge=False), found.build_network(base)
    assert torch.allclose(apart(x), merged(x), atol=1e-5)
    assert not torch.allclose(apart(x), base.eval()(x), atol=1e-3)
    removed = wrapper.remove(apart)
    assert all(torch.equal(t, original[n]) for n, t in removed.state_dict().items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pixels", "no network whose weights can be trained"),
        ("hog", "no network whose weights can be trained"),
    ],
)
def test_an_encoder_without_trainable_weights_is_refused(stripes, tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        finetune(stripes, "--encoder", name, "--out", tmp_path / "t", *FAST)


def test_a_classifier_is_refused(stripes, tmp_path, monkeypatch, encoder):
    class Scores:
        classes = ("a",)
        name = "diffusion-classifier:x"

        def is_held_out(self, digests, groups=None):
            return digests

    monkeypatch.setattr("ilk.finetuning.base.resolve_encoder", lambda *_a, **_k: Scores())
    with pytest.raises(InputError, match="is a classifier itself"):
        finetune(stripes, "--encoder", encoder, "--out", tmp_path / "t", *FAST)


def test_a_network_that_saw_the_images_is_refused(stripes, tuned, tmp_path):
    with pytest.raises(InputError, match="was trained on 80 of these 120 images"):
        finetune(stripes, "--encoder", f"tuned:{tuned}", "--out", tmp_path / "t", *FAST)


def test_one_class_is_refused(stripes, encoder, tmp_path):
    shutil.copytree(stripes / "level", tmp_path / "d" / "level")
    with pytest.raises(InputError, match="all 60 labelled images are 'level'"):
        finetune(tmp_path / "d", "--encoder", encoder, "--out", tmp_path / "t", *FAST)


def test_images_without_labels_are_refused(stripes, encoder, tmp_path):
    shutil.copytree(stripes / "level", tmp_path / "d")
    with pytest.raises(NoLabels, match="no labels"):
        finetune(tmp_path / "d", "--encoder", encoder, "--out", tmp_path / "t", *FAST)


def test_too_few_images_are_refused(encoder, tmp_path):
    few = write_stripes(tmp_path / "d", per_class=8)
    with pytest.raises(InputError, match="too few to tune on"):
        finetune(few, "--encoder", encoder, "--out", tmp_path / "t", *FAST)


def test_a_wrapper_without_a_layer_to_fit_is_refused(stripes, encoder, tmp_path):
    with pytest.raises(InputError, match="Prefix needs"):
        finetune(stripes, "--encoder", encoder, "--out", tmp_path / "t", *FAST, "--peft", "Prefix")
    with pytest.raises(UnknownName, match="wrapper"):
        finetune(stripes, "--encoder", encoder, "--out", tmp_path / "t", *FAST, "--peft", "Lara")


def test_a_wrong_number_of_layers_is_refused(stripes, encoder, tmp_path):
    with pytest.raises(InputError, match="--layers"):
        finetune(stripes, "--encoder", encoder, "--out", tmp_path / "t", "--layers", "few")


def test_the_folder_of_the_images_is_refused(stripes, encoder):
    with pytest.raises((InputError, OutputError)):
        finetune(stripes, "--encoder", encoder, "--out", stripes / "t", *FAST)


def test_other_files_are_not_overwritten(stripes, encoder, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="not a tuned network"):
        finetune(stripes, "--encoder", encoder, "--out", tmp_path / "t", *FAST)


def test_a_network_that_cannot_run_on_its_input_is_refused(tmp_path, monkeypatch):
    name = write_network(tmp_path / "n")
    encoder = resolve_encoder(name)
    monkeypatch.setattr(TunedCheckpoint, "build_network", lambda _self: torch.nn.Conv2d(3, 4, 40))
    with pytest.raises(InputError, match="does not take images of 16 x 16 pixels"):
        open_splitter(encoder)


def test_a_state_that_training_did_not_change_is_not_chosen():
    rng = np.random.default_rng(0)
    log_p = -rng.uniform(0.1, 1, 20)
    frozen = Candidate("frozen", Answers(np.ones(20, bool), log_p), None)
    same = Candidate("a", Answers(np.ones(20, bool), log_p + 1e-9), None)
    better = Candidate("b", Answers(np.ones(20, bool), log_p + 1e-2), None, is_changed=True)
    groups = np.full(20, -1)
    assert choose([frozen, same], groups) == 0
    assert choose([frozen, same, better], groups) == 2


def test_val_and_test_splits_are_not_read(tmp_path, encoder, monkeypatch):
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        write_stripes(tmp_path / "d" / split, per_class=3, seed=seed)
    seen = []

    def stop(images, *_args, **_options):
        seen.extend(images.used)
        raise InputError("stop")

    monkeypatch.setattr(from_images, "finetune_images", stop)
    with pytest.raises(InputError, match="stop"):
        finetune(tmp_path / "d", "--encoder", encoder, "--out", tmp_path / "t", *FAST)
    assert [row.split for row in seen] == ["train"] * 6


def test_no_difference_has_no_minus_sign():
    certain = Answers(np.ones(20, bool), np.zeros(20))
    candidates = [Candidate("frozen", certain, certain), Candidate("a", certain, certain)]
    groups = np.full(20, -1)
    comparison = compare_candidates(candidates[1], candidates[0], groups)
    assert "+0.0 points" in comparison.describe()
    assert "+0.000 in log loss" in comparison.describe()
    assert "-0.0" not in json.dumps(summarize(candidates, comparison, groups)["candidates"])


def test_a_single_group_held_out_is_no_reason_to_lose_the_run():
    """It says nothing of other groups: the interval is infinite, which JSON cannot express."""
    rng = np.random.default_rng(0)
    frozen, tuned = (
        Candidate(name, answers, answers)
        for name, answers in (
            (n, Answers(rng.random(20) < 0.7, -rng.uniform(0.1, 1, 20))) for n in ("frozen", "a")
        )
    )
    groups = np.zeros(20, int)
    comparison = compare_candidates(tuned, frozen, groups)
    assert not comparison.is_gain
    found = summarize([frozen, tuned], comparison, groups)
    assert json.loads(json.dumps(found, allow_nan=False))["gain"]["log_probability"]["low"] is None


def test_a_model_of_a_tuned_network_predicts_explains_and_exports(tuned, encoder, tmp_path, capsys):
    new = write_stripes(tmp_path / "new", per_class=30, seed=1)
    model, names = tmp_path / "model", tmp_path / "names.csv"
    run = partial(run_command, capsys=capsys)
    shutil.copytree(tuned, tmp_path / "tuned")
    options = ("--method", "NearestClassMean", "--runtime", "torch", "--views", "1")
    run("fit", new, "--encoder", f"tuned:{tmp_path / 'tuned'}", *options, "--out", model)
    shutil.rmtree(tmp_path / "tuned")  # the model folder holds the network itself
    run("predict", model, new, "--out", names, "--runtime", "torch")
    rows = names.read_text().splitlines()
    assert len(rows) == 61
    run("export", model, "--onnx", tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").stat().st_size > 10_000
    run(
        "explain",
        model,
        new / "level" / "0.png",
        "--out",
        tmp_path / "maps",
        "--no-check",
        "--method",
        "grad-cam",
    )
    assert any((tmp_path / "maps").iterdir())
    run("search", model, new / "level" / "0.png", "--out", tmp_path / "hits.csv")
    assert "0.png" in (tmp_path / "hits.csv").read_text()


def run_command(*args, capsys):
    code = run_ilk([str(a) for a in args])
    output = capsys.readouterr()
    assert code == 0, output.out + output.err


def copy_network(name, folder):
    """Return a copy of a tuned folder, and what opens it."""
    shutil.copytree(name.removeprefix("tuned:"), folder)
    return folder, f"tuned:{folder}"


def read_all(folder):
    return {n: (folder / n).read_bytes() for n in ("tuned.json", "weights.safetensors")}


def test_the_network_that_is_tuned_is_not_written_over(stripes, encoder, tmp_path, monkeypatch):
    """Its folder would hold a network whose base is itself, and the base would be lost."""
    folder, name = copy_network(encoder, tmp_path / "n")
    before = read_all(folder)
    monkeypatch.chdir(tmp_path)
    for out in (folder, "n", tmp_path / "x" / ".." / "n"):
        with pytest.raises(InputError, match="holds the network that is tuned"):
            finetune(stripes, "--encoder", name, "--out", out, *FAST, "--force")
    assert read_all(folder) == before


def test_a_network_that_the_tuned_one_rests_on_is_not_written_over(stripes, encoder, tmp_path):
    from ilk.encoders.tuned_network import NETWORK, TunedNetwork, take_state, write_tuned_network

    folder, name = copy_network(encoder, tmp_path / "n")
    base = resolve_encoder(name)
    network = base.checkpoint.build_network()
    [first, *_] = [n for n, _ in network.named_parameters()]
    middle = TunedNetwork(
        NETWORK, base.preprocess, base.space.dim, take_state(network, [first]), base.describe()
    )
    write_tuned_network(tmp_path / "middle", middle)
    before = read_all(folder)
    args = (stripes, "--encoder", f"tuned:{tmp_path / 'middle'}", "--out", folder, *FAST)
    with pytest.raises(InputError, match="one that it was made from"):
        finetune(*args, "--force")
    start = ("--start-from", f"tuned:{tmp_path / 'middle'}", "--out", tmp_path / "middle")
    with pytest.raises(InputError, match="choose another folder"):
        finetune(stripes, "--encoder", name, *start, *FAST, "--force")
    assert read_all(folder) == before


@pytest.mark.parametrize("name", ["finetune", "learn_metric"])
def test_the_encoder_inside_a_model_is_not_written_over(encoder, tmp_path, name):
    from ilk.finetuning.folder import check_network_folder
    from ilk.metric_learning.folder import check_tuned_folder

    check = {"finetune": check_network_folder, "learn_metric": check_tuned_folder}[name]
    folder = tmp_path / "model" / "encoder"
    assert check(folder) == folder
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    with pytest.raises(OutputError, match="a model folder, which holds its encoder there"):
        check(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_features_of_a_run_that_went_astray_are_no_reason_to_stop(value):
    """A far too high learning rate: the measure is no number, and the best state stays."""
    from ilk.finetuning.from_images import _Run

    good, bad = np.ones((4, 3), np.float32), np.full((4, 3), value, np.float32)
    for pair in ((bad, good), (good, bad)):
        assert np.isnan(_Run.measure(object(), *pair))


@pytest.mark.parametrize("what", [("--layers", "1"), ("--peft", "LoRA(rank=2)")])
def test_the_folder_holds_the_network_that_was_judged(
    stripes, encoder, tmp_path, monkeypatch, what
):
    from PIL import Image

    import ilk

    found, compute = [], from_images.compute_features

    def watch(*args):
        found.append(compute(*args))
        return found[-1]

    monkeypatch.setattr(from_images, "compute_features", watch)
    later = itertools.count()  # each state counts as better than the one before
    monkeypatch.setattr(from_images._Run, "measure", lambda *_: float(next(later)))
    out = tmp_path / "t"
    finetune(stripes, "--encoder", encoder, "--out", out, *what, *FAST, "--lr", "0.05", "--force")
    tuned, base = (resolve_encoder(n, runtime="torch") for n in (f"tuned:{out}", encoder))
    pictures = [Image.open(stripes / row.path) for row in ilk.read(str(stripes)).used]
    ours, before = (e.embed(np.stack([e.prepare(p) for p in pictures])) for e in (tuned, base))
    np.testing.assert_allclose(ours, found[-1], rtol=1e-3, atol=1e-4)
    assert not np.allclose(ours, before, rtol=1e-2, atol=1e-3)
