"""Can a vision transformer that drops tokens keep its hash codes, and is it faster?

Transformers of 6 blocks (32 wide, 2 heads) on MNIST, 49 tokens of 4 x 4 pixels, give hash codes of
16 bits. Students keep 24, 12 and 6 tokens after blocks 2, 3 and 4: by the attention of the class
token times the response, by attention alone, or at random. Rivals: no pruning, and 3 blocks, which
take about as long. Each is trained with and without the teacher, a network without pruning that
learns at the same time and does not see its students: all of a seed share it, its batches and its
recipe (Muon and AdamW, 0.02, 64 images, 150 updates), which was tried on seed 100. Five seeds (0 to
4): weights, 5,000 training images, 500 queries and a gallery of 2,000 test images.

mAP is the average precision over the whole gallery by Hamming distance, expected over the order of
equal distances; the gallery is encoded by the student. The published evaluation ranks the codes
that were fixed for the classes of the gallery's labels instead: it is the table "gallery of codes
from labels" and says little more than accuracy. Milliseconds are medians on one thread, all
networks in turn; "time" is relative to no pruning.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.datasets import read_mnist
from ilk.architectures.token_pruning_transformer import Pruning, TokenPruningTransformer
from ilk.core.data import Data, Labels
from ilk.core.errors import Unavailable
from ilk.maths.class_codes import make_class_codes
from ilk.maths.retrieval import average_precision, mean_known
from ilk.training.batch import Batch
from ilk.training.objectives.pruned_hashing import PrunedHashing, TeacherAndStudents
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

SEEDS, STEPS, BITS, K = range(5), 150, 16, 10
N_TRAIN, N_QUERY, N_GALLERY, LR = 5000, 500, 2000, 2e-2
KEEP, DEPTH, SHALLOW = ((2, 24), (3, 12), (4, 6)), 6, 3
ENTRY, FILE = "eet-token-prune-fgir", "training/objectives/pruned_hashing.py"
WHOLE, RANDOM, ATTENTION = "no pruning", "random tokens", "attention"
RESPONSE, FEW_BLOCKS, TAUGHT = "attention x response", "3 blocks", ", taught"
NETWORKS: dict[str, tuple[int, Pruning]] = {
    WHOLE: (DEPTH, Pruning()),
    RANDOM: (DEPTH, Pruning(KEEP, "random")),
    ATTENTION: (DEPTH, Pruning(KEEP, "attention")),
    RESPONSE: (DEPTH, Pruning(KEEP, "response")),
    FEW_BLOCKS: (SHALLOW, Pruning()),
}
OURS = RESPONSE + TAUGHT
ARMS = (*NETWORKS, *(name + TAUGHT for name in NETWORKS))
MAP, ACCURACY, ORACLE = "mAP", "accuracy of the logits", "mAP, gallery of codes from labels"
TIMES = ((1, "time at batch size 1"), (64, "time at batch size 64"))
REPEATS = {1: 200, 64: 30}


def run(small: bool = False) -> dict[str, Any]:
    """Return tables of mAP, accuracy and time; `small` has few images and updates."""
    try:
        data = read_mnist(), read_mnist("test")
    except Unavailable as error:
        return {"tables": [], "verdict": [], "left out": [f"MNIST: {error}"]}
    results = [measure_seed(*data, seed, small) for seed in (range(2) if small else SEEDS)]
    tables = []
    setting = "MNIST, 16 bits"
    for metric in (MAP, ACCURACY, ORACLE, *(name for _, name in TIMES)):
        is_time = metric.startswith("time")
        arms = NETWORKS if is_time else ARMS
        scores = {arm: [r[metric][arm] for r in results] for arm in arms}
        ours = RESPONSE if is_time else OURS
        claims = [Claim(ENTRY, FILE, ours, arm) for arm in arms if arm != ours]
        if metric == MAP:
            rivals = (RANDOM, ATTENTION, FEW_BLOCKS)
            claims += [Claim(ENTRY, FILE, RESPONSE, arm) for arm in rivals]
        tables.append(make_table(setting, metric, scores, claims, "lower" if is_time else "higher"))
    milliseconds = {
        name: {
            arm: round(float(np.median([r["ms"][size][arm] for r in results])), 3)
            for arm in NETWORKS
        }
        for size, name in TIMES
    }
    verdict = describe_claims(tables, ("setting", "metric"))
    return {"tables": tables, "milliseconds": milliseconds, "verdict": verdict, "left out": []}


def take_median(values: list[float]) -> float:
    """Return the median, to a microsecond if in milliseconds."""
    return round(float(np.median(values)), 3)


def make_network(name: str, seed: int) -> TokenPruningTransformer:
    """Return a network of a kind with random weights; the first blocks of all kinds are alike."""
    depth, pruning = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TokenPruningTransformer(
            (1, 28, 28), 4, K, BITS, width=32, depth=depth, heads=2, pruning=pruning
        )


def measure_seed(source: Data, test: Data, seed: int, small: bool) -> dict[str, Any]:
    """Return figures by metric and arm for one seed."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(source))[: 300 if small else N_TRAIN]
    y = torch.from_numpy(np.array(source.y[rows]))
    batch = Batch(to_images(source, rows), y)
    students = [make_network(arm.removesuffix(TAUGHT), seed) for arm in ARMS]
    is_taught = [arm.endswith(TAUGHT) for arm in ARMS]
    network = TeacherAndStudents(make_network(WHOLE, seed + 1000), students, is_taught)
    # No clipping: its norm would be that of all networks, and one would slow the others.
    recipe = Recipe(2 if small else STEPS, 8 if small else 64, LR, 20, 0.01, 1e9, seed=seed)
    trained = train(network, batch, PrunedHashing(seed), recipe)
    n_query, n_gallery = (20, 60) if small else (N_QUERY, N_GALLERY)
    order = rng.permutation(len(test))[: n_query + n_gallery]
    images, labels = to_images(test, order), test.y[order]
    targets = np.sign(make_class_codes(K, BITS, seed))
    out: dict[str, Any] = {MAP: {}, ACCURACY: {}, ORACLE: {}}
    for arm, student in zip(ARMS, trained.students, strict=True):
        torch.manual_seed(seed)  # the rule "random" draws by it
        codes, answers = encode(student, images)
        query, gallery = codes[:n_query], codes[n_query:]
        out[MAP][arm] = score_codes(query, labels[:n_query], gallery, labels[n_query:])
        fixed = targets[labels[n_query:]]
        out[ORACLE][arm] = score_codes(query, labels[:n_query], fixed, labels[n_query:])
        out[ACCURACY][arm] = float(np.mean(answers == labels))
    kinds = dict(zip(NETWORKS, trained.students, strict=False))
    out["ms"] = {size: measure_milliseconds(kinds, size, small) for size, _ in TIMES}
    for size, name in TIMES:
        whole = out["ms"][size][WHOLE]
        out[name] = {arm: ms / whole for arm, ms in out["ms"][size].items()}
    return out


def to_images(data: Data, rows: Labels) -> Tensor:
    """Return images `[n, 1, 28, 28]`, with the mean 0 and the variance 1 of all of MNIST."""
    return (torch.from_numpy(np.array(data.x[rows])).reshape(-1, 1, 28, 28) - 0.13) / 0.31


@torch.inference_mode()
def encode(network: Any, images: Tensor) -> tuple[np.ndarray[Any, Any], Labels]:
    """Return hash codes of -1 and 1, `[n, bits]`, and answers `[n]`."""
    parts = [network.compute(part) for part in torch.split(images, 250)]
    code = torch.cat([part.code for part in parts]).numpy()
    answers = torch.cat([part.logits for part in parts]).argmax(1).numpy()
    return np.where(code > 0, 1.0, -1.0), answers


def score_codes(query: Any, query_y: Labels, gallery: Any, gallery_y: Labels) -> float:
    """Return the mean average precision of codes `[n, bits]` in a gallery `[m, bits]`."""
    relevant = query_y[:, None] == gallery_y
    return mean_known(average_precision(query @ gallery.T, relevant))


@torch.inference_mode()
def measure_milliseconds(networks: dict[str, Any], size: int, small: bool) -> dict[str, float]:
    """Return the median time of a batch of `size` images; the networks take turns."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x = torch.zeros(size, 1, 28, 28)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(1 if small else REPEATS[size]):
        for name, network in networks.items():
            start = time.perf_counter()
            network.compute(x)
            times[name].append(time.perf_counter() - start)
    torch.set_num_threads(n_threads)
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}
