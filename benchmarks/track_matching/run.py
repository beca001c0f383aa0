"""Does the discriminant of the tracks' own history match them better than their features?

A sequence has 20 tracks: one image each (MNIST, Fashion-MNIST, Omniglot characters), under smooth
random shift, rotation, scale and blur. Features are 64 rectified units of a small network that was
trained on other classes (notMNIST letters; Omniglot characters of other alphabets) and is frozen.
The first n frames are the history, with known tracks; the tracks of a later frame are matched by
the Hungarian method: the next frame, and the one 10 frames later, as after an occlusion (the walks
then keep 28 % of their state). Rivals: cosine with the last sample, the mean and the
recency-weighted mean of the track, the same of centred features, of their principal axes as many as
the discriminant has, and whitened by the covariance within tracks alone. The discriminant is used
at any length, also with the last sample in place of the weighted mean, and with the paper's weights
(0.9 per frame; elsewhere 0.7). `TrackMatcher` is what a user calls, with its defaults: features as
they are below 20 samples per track. In the last tables it runs on its own answers: after 25 known
frames its matches become its history, for 40 frames. Five seeds (0 to 4), 40 sequences each,
paired. Drift, network, weights and the 20 samples were set on seeds from 100 on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import Claim, make_table
from benchmarks.datasets import read_fashion, read_mnist, read_notmnist, read_omniglot
from benchmarks.small_networks import train_network
from benchmarks.track_matching.sequences import draw_sequence
from ilk.core.data import Data, Features
from ilk.core.errors import Unavailable
from ilk.core.linear_models import normalize_rows
from ilk.maths.covariance import solve_triangular
from ilk.maths.history_discriminant import (
    Matrix,
    compute_track_means,
    compute_within_covariance,
    factor_within,
    fit_history_discriminant,
)
from ilk.retrieval.track_matching import TrackMatcher

SEEDS, N_SEQUENCES, N_TRACKS = range(5), 40, 20
LENGTHS, GAPS = (2, 3, 4, 6, 10, 20, 60), (1, 10)
TABLED = (2, 4, 20, 60)  # of the lengths, those whose accuracies are tables; the plots show all
N_KNOWN, N_OWN, PAPER_DECAY = 25, 40, 0.9
ENTRY, FILE = "hatreid-history-fld", "retrieval/track_matching.py"
LAST, MEAN, RECENT = "cosine, last sample", "cosine, mean", "cosine, recency-weighted mean"
CENTRED, AXES = "centred cosine", "principal axes"
WHITENED, OURS, DEFAULT = "whitened within tracks", "discriminant", "TrackMatcher"
OURS_LAST, OURS_SLOW = "discriminant, last sample", "discriminant, the paper's weights"
RIVALS = (LAST, MEAN, RECENT, CENTRED, AXES, WHITENED)
TASKS: dict[str, tuple[Callable[[], Data], Callable[[], Data]]] = {
    "MNIST": (read_notmnist, lambda: read_mnist("test")),
    "Fashion-MNIST": (read_notmnist, lambda: read_fashion("test")),
    "Omniglot": (lambda: read_omniglot(2), lambda: read_omniglot(1)),
}
NETWORK_STEPS = 300


def run(small: bool = False) -> dict[str, Any]:
    """Return tables of matching accuracy, curves over the history; `small` has few sequences."""
    tables: list[dict[str, Any]] = []
    plots: list[dict[str, Any]] = []
    left_out: list[str] = []
    seeds, lengths = (range(2), (2, 10)) if small else (SEEDS, LENGTHS)
    for name in ("Omniglot",) if small else TASKS:
        try:
            source, target = (read() for read in TASKS[name])
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        results = [measure_seed(source, target, seed, lengths, small) for seed in seeds]
        for gap in GAPS:
            for n in (n for n in lengths if n in TABLED):
                scores = {arm: [r[gap, n][arm] for r in results] for arm in results[0][gap, n]}
                claims = [Claim(ENTRY, FILE, OURS, arm) for arm in RIVALS]
                claims += [Claim(ENTRY, FILE, DEFAULT, arm) for arm in (LAST, RECENT)]
                setting = f"{name}, history of {n}, {describe_gap(gap)}"
                tables.append(make_table(setting, "matching accuracy", scores, claims))
            plots.append(plot_curve(name, gap, lengths, results))
        own = {arm: [r["own"][arm] for r in results] for arm in results[0]["own"]}
        claims = [Claim(ENTRY, FILE, DEFAULT, arm) for arm in own if arm != DEFAULT]
        setting = f"{name}, its own answers as history"
        tables.append(make_table(setting, "accuracy over 40 frames", own, claims))
    return {
        "tables": tables,
        "plots": plots,
        "left out": left_out,
    }


def describe_gap(gap: int) -> str:
    """Return which frame is matched, in words."""
    return "next frame" if gap == 1 else f"{gap} frames later"


def plot_curve(
    name: str, gap: int, lengths: tuple[int, ...], results: list[dict[Any, Any]]
) -> dict[str, Any]:
    """Return the mean accuracy of each method over the length of the history."""
    arms = results[0][gap, lengths[0]]
    title = f"{name}, {describe_gap(gap)}"
    return {
        "file": f"track-matching-{re.sub('[^a-z0-9]+', '-', title.lower())}.svg",
        "kind": "lines",
        "title": title,
        "x": "samples per track",
        "y": "matching accuracy",
        "log_x": True,
        "series": {
            arm: [[n, float(np.mean([r[gap, n][arm] for r in results]))] for n in lengths]
            for arm in arms
        },
    }


def measure_seed(
    source: Data, target: Data, seed: int, lengths: tuple[int, ...], small: bool
) -> dict[Any, Any]:
    """Return accuracies by (gap, length) and of trackers on their own answers, for one seed."""
    rng = np.random.default_rng(seed)
    network = train_network(source, 5 if small else NETWORK_STEPS, seed=seed)
    n_sequences, n_tracks = (1, 6) if small else (N_SEQUENCES, N_TRACKS)
    n_frames = max(*lengths, N_KNOWN + N_OWN) + max(GAPS)
    right: dict[tuple[int, int], list[dict[str, float]]] = {}
    own: list[dict[str, float]] = []
    for _ in range(n_sequences):
        features = draw_sequence(target, network, rng, n_tracks, n_frames)
        for n in lengths:
            for gap in GAPS:
                frame = features[:, n + gap - 1]
                right.setdefault((gap, n), []).append(match_all(features[:, :n], frame))
        own.append(run_trackers(features))
    out: dict[Any, Any] = {key: average(parts) for key, parts in right.items()}
    return {**out, "own": average(own)}


def average(parts: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each value over `parts`."""
    return {arm: float(np.mean([part[arm] for part in parts])) for arm in parts[0]}


def match_all(history: Features, frame: Features) -> dict[str, float]:
    """Return the share of objects of `frame [c, d]` matched to their track by each method.

    Args:
        history: Features of the frames so far, `[c, n, d]`.
        frame: Features of the frame to match; row i belongs to track i.
    """
    c, n, d = history.shape
    x = np.asarray(normalize_rows(history.reshape(-1, d)))
    label = np.repeat(np.arange(c), n)
    weight, slow = (
        np.tile(decay ** np.arange(n)[::-1].astype(np.float64), c)
        for decay in (TrackMatcher.decay, PAPER_DECAY)
    )
    query, recent = np.asarray(normalize_rows(frame)), compute_track_means(x, label, weight)
    last = x[n - 1 :: n]
    centre = x.mean(0)
    axes = np.linalg.svd(x - centre, full_matrices=False)[2][: c - 1].T
    root = factor_within(compute_within_covariance(x, label))
    ours, slower = (fit_history_discriminant(x, label, w) for w in (weight, slow))
    pairs = {
        LAST: (query, last),
        MEAN: (query, compute_track_means(x, label)),
        RECENT: (query, recent),
        CENTRED: (query - centre, recent - centre),
        AXES: ((query - centre) @ axes, (recent - centre) @ axes),
        WHITENED: tuple(solve_triangular(root, (z - centre).T).T for z in (query, recent)),
        OURS: (ours.apply(query), ours.apply(recent)),
        OURS_LAST: (ours.apply(query), ours.apply(last)),
        OURS_SLOW: (slower.apply(query), slower.apply(compute_track_means(x, label, slow))),
    }
    scores = {arm: match_cosine(a, b) for arm, (a, b) in pairs.items()}
    frames = history.transpose(1, 0, 2).reshape(-1, d)
    tracks = np.tile(np.arange(c), n)
    answers = TrackMatcher().fit(frames, tracks).match(frame).tracks
    return {**scores, DEFAULT: float(np.mean(answers == np.arange(c)))}


def match_cosine(query: Matrix, reference: Matrix) -> float:
    """Return the share of rows `[c, r]` matched to the reference `[c, r]` of the same number."""
    from scipy.optimize import linear_sum_assignment

    similarity: NDArray[np.float64] = normalize_rows(query) @ normalize_rows(reference).T
    matched = linear_sum_assignment(-similarity)[1]
    return float(np.mean(matched == np.arange(len(query))))


def run_trackers(features: Features) -> dict[str, float]:
    """Return the share of right matches over frames whose history is the matches before them."""
    c = len(features)
    trackers = {
        DEFAULT: TrackMatcher(),
        "discriminant at any length": TrackMatcher(min_samples=2),
        RECENT: TrackMatcher(blend=0.0),
        LAST: TrackMatcher(history=1),
    }
    out = {}
    for arm, tracker in trackers.items():
        for t in range(N_KNOWN):
            tracker.update(features[:, t], np.arange(c))
        right = []
        for t in range(N_KNOWN, N_KNOWN + N_OWN):
            answers = tracker.match(features[:, t]).tracks
            tracker.update(features[:, t], answers)
            right.append(np.mean(answers == np.arange(c)))
        out[arm] = float(np.mean(right))
    return out
