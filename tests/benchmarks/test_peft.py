"""The benchmark of wrappers runs small; its figures of memory and parameters are right."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import tiny_vit
from benchmarks.peft import arms
from benchmarks.peft import run as peft
from benchmarks.tiny_vit import Images
from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig


def test_small_run_gives_json(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))
    images = Images(torch.randn(300, 1, 28, 28), torch.arange(300) % 10)
    for module in (peft, tiny_vit):
        monkeypatch.setattr(module, "read_images", lambda _dataset, _part="train": images)
    kept = (arms.FULL, arms.HEAD, arms.MAM, arms.SHERL)
    comparisons = [(e, f, m, (arms.HEAD,)) for e, f, m, _ in peft.COMPARISONS if m in kept]
    ways = [arm for arm in arms.ARMS if arm.name in kept]
    monkeypatch.setattr(peft, "STUDIES", (peft.Study(4, ways, comparisons), peft.STUDIES[1]))
    result = json.loads(json.dumps(peft.run(small=True), allow_nan=False))
    metrics = [peft.ACCURACY, peft.ACCURACY, peft.MEMORY, peft.TIME]
    assert [t["metric"] for t in result["tables"]] == 2 * metrics
    assert result["4 blocks"][arms.MAM]["parameters beside the head"] == 4112
    memory = {s["method"]: s["score"]["mean"] for s in result["tables"][2]["scores"]}
    assert memory[arms.HEAD] < memory[arms.SHERL] < memory[arms.FULL]


@pytest.mark.parametrize("arm", arms.ARMS, ids=lambda arm: arm.name)
def test_every_way_trains_its_parameters_and_starts_as_it_says(arm):
    network = TinyViT(TinyViTConfig(), 5, seed=3)
    x = torch.randn(4, 1, 28, 28)
    expected = network.eval().forward_features(x)
    prepared = arm.prepare(network, 3, 0)
    counts = {
        arms.HEAD: 0,
        arms.FULL: sum(p.numel() for p in TinyViT(TinyViTConfig(), 1).parameters()) - 65,
        arms.LAST: 33_472 + 128,
        arms.LORA: 12_288,
        arms.LORA_1: 3_072,
        arms.LORA_ATTENTION: 4_608,
        arms.BITFIT: 4 * (192 + 64 + 128 + 64 + 2 * 64) + 64 + 64,
        arms.IA3: 4 * (64 + 64 + 128),
        arms.IA3_OUTPUTS: 4 * (192 + 64 + 128 + 64),
        arms.SUM: 4,
        arms.SUM_LAST: 4 + 33_472 + 128,
        arms.MEAN: 0,
        arms.PREFIX: 4_112,
        arms.MAM: 4_112,
    }
    counts |= dict.fromkeys((arms.ADAPTER, arms.PARALLEL, arms.PARALLEL_ATTENTION), 4096)
    counts |= dict.fromkeys((arms.SVFIT, arms.BOTTOM, arms.RANDOM), 768)
    sherl = 3 * (64 * 32 + 32 + 2 * 32) + 33 + (32 * 64 + 64 + 2 * 64) + 1
    counts[arms.SHERL] = sherl
    counts[arms.SHERL_LAST] = sherl + 33_472 + 128
    assert arms.count_trained(prepared) == counts[arm.name]
    is_exact = "SHERL" not in arm.name and "of blocks" not in arm.name
    close = torch.allclose(prepared.eval().forward_features(x), expected, rtol=0, atol=1e-6)
    assert close == is_exact


def test_saved_memory_is_counted_without_parameters_and_once():
    network = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 3))
    images = Images(torch.randn(8, 10), torch.zeros(8, dtype=torch.int64))
    # The output of the rectifier, for itself and for the second layer, and the log-probabilities;
    # the images are there anyway. Labels and the total weight of the loss are small.
    floats = 8 * 20 + 8 * 3
    measured = arms.measure_saved_bytes(network, images)
    assert 4 * floats <= measured <= 4 * floats + 8 * 8 + 16


def test_the_head_has_a_learning_rate_of_its_own():
    network = TinyViT(TinyViTConfig(width=16, heads=2), 2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    images = Images(torch.randn(8, 1, 28, 28), torch.arange(8) % 2)
    tuned = arms.tune(network, images, 1e-12, 1e-2, 0, 3).state_dict()
    moved = {k: float((tuned[k] - v).abs().max()) for k, v in before.items()}
    assert moved["head.weight"] > 1e-3
    assert max(v for k, v in moved.items() if not k.startswith("head")) < 1e-6


@pytest.mark.parametrize("arm", arms.ARMS, ids=lambda arm: arm.name)
def test_it_is_known_which_ways_train_the_head_alone(arm):
    prepared = arm.prepare(TinyViT(TinyViTConfig(), 5), 3, 0)
    assert arm.trains_more_than_the_head == (arms.count_trained(prepared) > 0)


def test_the_grid_of_learning_rates_goes_on_where_the_highest_is_best(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))
    monkeypatch.setattr(peft, "draw_images", lambda *_: (None, None))
    tried, best = [], 0.0

    def judge(_self, _arm, _pretrained, _few, _judged, rate, _seed):
        tried.append(rate)
        return -abs(rate - best)

    monkeypatch.setattr(peft.Runs, "_run", judge)
    runs = peft.Runs(4, "near", True)
    for best, expected in {0.01: 0.01, 0.09: 0.09, 5.0: 0.3}.items():  # noqa: B007  (judge)
        assert runs.choose_rate(arms.Arm("head"), None) == expected == runs.head_rate
    assert max(tried) == 0.3


def test_training_and_validation_images_do_not_overlap(monkeypatch):
    images = Images(torch.arange(600.0).reshape(600, 1, 1, 1), torch.arange(600) % 10)
    monkeypatch.setattr(peft, "read_images", lambda _dataset, _part="train": images)
    few, rest = peft.draw_images("near", 3, small=False)
    assert len(few) == 5 * peft.PER_CLASS
    assert not np.isin(few.x.flatten().numpy(), rest.x.flatten().numpy()).any()
