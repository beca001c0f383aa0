"""From encoded images to a tuned network, or to the finding that tuning does not pay."""

from __future__ import annotations

import copy
import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import KnowsTrainingImages
from ilk.core.device import pick_device
from ilk.core.errors import InputError
from ilk.core.linear_models import Linear
from ilk.core.progress import Progress, silent_progress
from ilk.encode import encode_images
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.tuned_checkpoint import TunedNetworkEncoder
from ilk.encoders.tuned_files import merge_digests, pack_digests
from ilk.encoders.tuned_network import (
    NETWORK,
    WRAPPER,
    TunedNetwork,
    take_state,
    write_tuned_network,
)
from ilk.finetuning.base import open_splitter
from ilk.finetuning.carry_over import CarriedEncoder, add_trained
from ilk.finetuning.config import FinetuneConfig, Variant
from ilk.finetuning.division import Division, divide
from ilk.finetuning.frozen_encoder import FrozenEncoder, open_frozen
from ilk.finetuning.judge import Answers, fit_head, is_usable, judge_logits
from ilk.finetuning.notes import describe_result
from ilk.finetuning.result import (
    FROZEN,
    Candidate,
    FinetuneResult,
    choose,
    compare_candidates,
    find_best,
    summarize,
)
from ilk.finetuning.splitting import SplitNetwork
from ilk.finetuning.training_rows import open_activations, open_pixels
from ilk.finetuning.trial import Part, Trial, compute_features, run_trial
from ilk.images import Images
from ilk.images.labelled_rows import digest_rows
from ilk.peft import get_state, parse_wrapper
from ilk.store import Store
from ilk.training.recipe import DeviceConfig

WORK = ".ilk.finetuning"  # folder inside OUT, while a run goes on


@dataclass(eq=False)
class _Run:
    """What one call of `finetune` shares between variants."""

    images: Images
    base: NetworkEncoder
    division: Division
    config: FinetuneConfig
    work: Path
    store: Store
    x: NDArray[np.float32]
    device: DeviceConfig
    progress: Progress

    def __post_init__(self) -> None:
        d = self.division
        self.splitter = open_splitter(self.base)
        self.head = self.fit(self.x, d.train)
        self.key = {
            "images": digest_rows(d.rows),
            "space": self.base.space.key,
            "train": hashlib.sha256(d.train.tobytes() + d.validation.tobytes()).hexdigest(),
        }

    def fit(self, x: NDArray[np.float32], rows: NDArray[np.int64]) -> Linear:
        """Return a head fitted to features `[n, d]` of images at positions `rows [m]`."""
        d = self.division
        return fit_head(x[rows], d.y[rows], d.classes, d.groups[rows])

    def judge(
        self, x: NDArray[np.float32], fitted: NDArray[np.int64], judged: NDArray[np.int64]
    ) -> Answers:
        """Return what a head fitted to some images says of others, from features `[n, d]`."""
        d = self.division
        return judge_logits(self.fit(x, fitted).logits(x[judged]), d.y[judged], d.groups[judged])

    def measure(self, x: NDArray[np.float32], validation_x: NDArray[np.float32]) -> float:
        """Return how well a head fitted to the first training images answers the validation part.

        Args:
            x: Features of the first n training images, `[n, d]`.
            validation_x: Features of the validation part, `[m, d]`.

        Returns:
            The score; nan where a feature is too large or no number, as after a far too high
            learning rate.
        """
        if not is_usable(x, validation_x):
            return float("nan")
        d = self.division
        rows = d.train[: len(x)]
        head = fit_head(x, d.y[rows], d.classes, d.groups[rows])
        groups = d.groups[d.validation]
        return judge_logits(head.logits(validation_x), d.y[d.validation], groups).score

    def make_candidate(self, name: str, x: NDArray[np.float32], **costs: Any) -> Candidate:
        """Return the answers for the validation part and the images held out."""
        d = self.division
        return Candidate(
            name,
            self.judge(x, d.train, d.validation),
            self.judge(x, d.known, d.held_out) if len(d.held_out) else None,
            **costs,
        )

    def split(self, variant: Variant) -> SplitNetwork:
        """Return the network, divided for a variant."""
        plain = self.splitter.split(variant.n_blocks)
        if not variant.wrapper:
            return plain
        wrapper = parse_wrapper(variant.wrapper)
        network = wrapper.apply(copy.deepcopy(self.splitter.network))
        return self.splitter.split_wrapped(network, plain, wrapper.starts_exactly)

    def open_part(
        self, split: SplitNetwork, views: Sequence[FrozenEncoder], rows: NDArray[np.int64]
    ) -> Part:
        """Return images at positions `rows [m]` as rows to train on or to read."""
        d = self.division
        if not views:
            chosen = [d.rows[i] for i in rows]
            source = open_pixels(self.images, chosen, self.base, d.y[rows], self.progress)
            return Part(source, d.y[rows], False)
        digests = [d.rows[i].digest for i in rows]
        source = open_activations(self.store, views, digests, d.y[rows], split.shape)
        return Part(source, d.y[rows], True)

    def encode_front(self, split: SplitNetwork, variant: Variant) -> list[FrozenEncoder]:
        """Compute what is frozen, once per image and mirror image, and return its encoders."""
        if split.frozen is None:
            return []
        is_plain = not variant.wrapper or parse_wrapper(variant.wrapper).starts_exactly
        encoder = open_frozen(self.base, split, "" if is_plain else variant.wrapper)
        views = [encoder, encoder.mirror()] if self.config.flip else [encoder]
        labelled = replace(self.images, rows=self.division.rows)
        encode_images(labelled, views, self.store, progress=self.progress)
        return views

    def try_variant(self, variant: Variant) -> tuple[Candidate, Trial]:
        """Tune a variant and judge it."""
        d, split = self.division, self.split(variant)
        views = self.encode_front(split, variant)
        is_compiled = self.device.torch_compile and split.frozen is None
        device = replace(self.device, torch_compile=is_compiled)
        trial = run_trial(
            variant,
            split,
            self.head,
            self.base.preprocess,
            self.open_part(split, views, d.train),
            self.open_part(split, views[:1], d.validation),
            self.measure,
            self.config,
            self.work,
            self.key,
            device,
            self.progress,
        )
        everything = self.open_part(split, views[:1], np.arange(len(d.rows)))
        x = compute_features(trial.network, everything, device.device)
        candidate = self.make_candidate(
            trial.name,
            x,
            n_trained=trial.n_trained,
            seconds=trial.seconds,
            n_bytes=trial.n_bytes,
            note=trial.validation.note,
            is_changed=trial.validation.step > 0,
        )
        return candidate, trial


def finetune_images(
    images: Images,
    base: NetworkEncoder,
    store: Store,
    config: FinetuneConfig,
    folder: Path,
    *,
    hold_out: float | None = None,
    force: bool = False,
    front_store: Store | None = None,
    progress: Progress = silent_progress,
) -> FinetuneResult:
    """Tune the network of an encoder on encoded images, and write it if that pays.

    The state of an interrupted run lies in a folder inside `folder`, and the same call goes on from
    there.

    Args:
        images: Images whose features are in the store; those without a label are not used.
        base: Their encoder.
        store: The features.
        config: Settings.
        folder: Folder of the tuned network.
        hold_out: Fraction of the images that judges the result, and is not trained on; None is a
            fifth, or more where that is fewer than 50 images.
        force: Write the best tuned network even if it is not better.
        front_store: Keeps the activations of what is frozen; None keeps them until the end of the
            run.
        progress: Reports each step.

    Raises:
        NoLabels, InputError: There are too few labels, or a wrapper fits no layer.
        OutputError: The folder cannot be written.
    """
    started_at = time.monotonic()
    division = divide(images, hold_out, config.seed)
    _check_unseen(base, division)
    work = folder / WORK
    device = DeviceConfig.for_device(pick_device(base.device))
    with _open_front_store(front_store, work) as fronts:
        x = store.get(base.space, division.digests)
        run = _Run(images, base, division, config, work, fronts, x, device, progress)
        found = [(run.make_candidate(FROZEN, x), None), *map(run.try_variant, config.variants)]
    candidates = tuple(candidate for candidate, _ in found)
    groups = division.groups
    chosen = choose(candidates, groups[division.validation])
    best = chosen or find_best(candidates)
    judged = groups[division.held_out if len(division.held_out) else division.validation]
    comparison = compare_candidates(candidates[best], candidates[0], judged)
    is_better = bool(chosen) and comparison.is_gain
    trial = found[best][1]
    assert trial is not None, "only the frozen network has none"
    if is_better or force:
        results = summarize(candidates, comparison, groups[division.held_out])
        tuned = make_tuned_network(trial, base, division, results)
        if isinstance(base, CarriedEncoder):
            tuned = add_trained(base, tuned)
        write_tuned_network(folder, tuned)
    elif isinstance(base, CarriedEncoder):
        write_tuned_network(folder, base.checkpoint.tuned)
    shutil.rmtree(work, ignore_errors=True)
    result = FinetuneResult(
        folder,
        is_better or force or isinstance(base, CarriedEncoder),
        is_better,
        candidates,
        best,
        chosen,
        comparison,
        groups[division.held_out],
        len(division.train),
        len(division.validation),
        len(division.held_out),
        time.monotonic() - started_at,
    )
    return replace(result, notes=tuple(describe_result(result, base, division, force)))


def _check_unseen(base: NetworkEncoder, division: Division) -> None:
    """Raise InputError if the network was trained on some of the images: they could not judge."""
    if not isinstance(base, KnowsTrainingImages):
        return
    unseen = base.is_held_out(division.digests, division.groups)
    if not unseen.all():
        raise InputError(
            f"{base.name} was trained on {int((~unseen).sum()):,} of these {len(unseen):,} images "
            "with their labels, or on others of their groups, so they cannot say whether more "
            "training pays; tune the encoder that it was made from, or give other images"
        )


@contextmanager
def _open_front_store(given: Store | None, work: Path) -> Iterator[Store]:
    """Yield the store of frozen activations; one of the run's own is closed at the end."""
    if given is not None:
        yield given
        return
    store = Store(work / "front.sqlite")
    try:
        yield store
    finally:
        store.close()


def make_tuned_network(
    trial: Trial, base: NetworkEncoder, division: Division, results: dict[str, Any]
) -> TunedNetwork:
    """Return what is written of a tuned variant: what was trained, and nothing else."""
    network = trial.network.late.network
    wrapper = trial.variant.wrapper
    if wrapper:
        whole = parse_wrapper(wrapper).apply(base.checkpoint.build_network())
        state = {**get_state(whole), **get_state(network)}
        arrays = {name: value.cpu().numpy() for name, value in state.items()}
    else:
        arrays = take_state(network, trial.trained)
    known = pack_digests([division.rows[i].digest for i in division.known])
    before = [base.checkpoint.tuned.trained_on] if isinstance(base, TunedNetworkEncoder) else []
    return TunedNetwork(
        WRAPPER if wrapper else NETWORK,
        base.preprocess,
        base.space.dim,
        arrays,
        base.describe(),
        wrapper=wrapper,
        tuned=trial.name,
        classes=division.classes,
        trained_on=merge_digests(known, *before),
        results=results,
    )
