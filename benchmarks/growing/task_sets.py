"""Data sets whose classes arrive in tasks, and the methods that learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.claims import Claim
from ilk.core.contracts import Method
from ilk.core.data import Data
from ilk.methods.ewc import EWC
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.generative_kernel import GenerativeKernel
from ilk.methods.lwf import LwF
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.replay import Replay
from ilk.methods.streaming_gda import StreamingGDA
from ilk.methods.weight_aligning import WeightAligning
from ilk.protocols import Step, class_tasks
from ilk.training.continual import run_steps

STEPS = 100  # updates per task
BASELINES = ("fine-tuning", "LwF", "EWC")
STORED_KERNEL, STORED_KERNEL_4X = "stored kernel, same bytes", "stored kernel, 4 times the bytes"
OURS, UNALIGNED, KERNEL = "weight aligning", "distillation, not aligned", "generative kernel"
CLIPPED = "distillation, clipped, not aligned"
CLAIMS = (
    *(Claim("class-incremental-survey", "methods/replay.py", "replay", r) for r in BASELINES),
    *(Claim("class-incremental-survey", "methods/replay.py", "iCaRL", r) for r in BASELINES),
    *(
        Claim("weight-aligning", "methods/weight_aligning.py", OURS, r)
        for r in (UNALIGNED, CLIPPED, "fine-tuning", "replay")
    ),
    *(
        Claim("generative-kernel-continual", "methods/generative_kernel.py", KERNEL, r)
        for r in (STORED_KERNEL, STORED_KERNEL_4X, "fine-tuning", "replay")
    ),
)


@dataclass(frozen=True)
class Tasks:
    """A data set whose classes arrive in tasks.

    Attributes:
        name: Name of the data set.
        train, test: Rows.
        n_train: Training rows of each seed.
        classes_per_task: Classes of a task; the last one has what is left as well.
        exemplars_per_class: Rows per class that exemplar methods store.
    """

    name: str
    train: Data
    test: Data
    n_train: int
    classes_per_task: int = 2
    exemplars_per_class: int = 2

    @property
    def sizes(self) -> list[int]:
        """Number of classes of each task."""
        sizes = [self.classes_per_task] * (self.train.k // self.classes_per_task)
        sizes[-1] += self.train.k - sum(sizes)
        return sizes

    @property
    def setting(self) -> str:
        """Description of the tasks for a table."""
        sizes = " or ".join(map(str, sorted(set(self.sizes))))
        return f"{self.name}, {len(self.sizes)} tasks of {sizes} classes"

    def draw_steps(self, seed: int) -> list[Step]:
        """Draw rows and the order of classes of a seed."""
        rows = np.random.default_rng(seed).permutation(len(self.train))[: self.n_train]
        return list(class_tasks(self.train.take(rows), self.test, self.sizes, seed))


def make_head_methods(exemplars: int, seed: int) -> dict[str, Method]:
    """Return the methods that train a head, by name."""
    options: dict[str, Any] = {"steps": STEPS, "seed": seed}
    return {
        "fine-tuning": FineTuning(**options),
        "LwF": LwF(**options),
        "EWC": EWC(**options),
        **make_replay_methods(exemplars, seed),
    }


def make_replay_methods(exemplars: int, seed: int) -> dict[str, Method]:
    """Return the methods that store exemplars, by name."""
    options: dict[str, Any] = {"exemplars": exemplars, "steps": STEPS, "seed": seed}
    return {
        "replay": Replay(**options),
        "iCaRL": Replay(distillation_weight=1.0, nearest_mean=True, **options),
        UNALIGNED: WeightAligning(align=False, clip=False, **options),
        CLIPPED: WeightAligning(align=False, **options),
        OURS: WeightAligning(**options),
    }


def make_closed_form_methods(latents: int, seed: int) -> dict[str, Method]:
    """Return the methods in closed form, by name; kernels have `latents` loadings."""
    return {
        KERNEL: GenerativeKernel(n_factors=latents, seed=seed),
        STORED_KERNEL: GenerativeKernel(n_factors=latents, store_rows=True, seed=seed),
        STORED_KERNEL_4X: GenerativeKernel(n_factors=4 * latents + 6, store_rows=True, seed=seed),
        "streaming GDA": StreamingGDA(),
        "nearest class mean": NearestClassMean(),
    }


def measure_streaming_error(tasks: Tasks, seeds: Sequence[int]) -> float:
    """Return the largest difference of a logit between rows in tasks, in any order, and at once."""
    max_error, method = 0.0, StreamingGDA()
    for seed in seeds:
        steps = tasks.draw_steps(seed)
        model = run_steps(method, steps)[-1].model
        all_rows = steps[-1].train
        for step in steps[:-1]:
            all_rows = all_rows.concat(step.train)
        batch = method.fit(all_rows).logits(tasks.test.x)
        max_error = max(max_error, float(np.abs(model.logits(tasks.test.x) - batch).max()))
    return max_error


def _split_rows(data: Data, n_first: int) -> tuple[Data, Data]:
    order = np.random.default_rng(0).permutation(len(data))
    return data.take(order[:n_first]), data.take(order[n_first:])


def make_digit_tasks() -> Tasks:
    """Return scikit-learn's digits in 5 tasks, tested on 797 rows."""
    return Tasks("digits", *_split_rows(datasets.read_digits(), 1000), 800)


def make_fashion_tasks() -> Tasks:
    """Return Fashion-MNIST pixels in 5 tasks, tested on 2,000 rows."""
    return Tasks(
        "fashion",
        datasets.read_fashion(),
        _split_rows(datasets.read_fashion("test"), 2000)[0],
        2000,
    )


def make_pendigit_tasks() -> Tasks:
    """Return UCI pendigits in 5 tasks, tested on the digits of other writers."""
    train, test = datasets.read_pendigits()
    return Tasks("pendigits", train, test, 2000, exemplars_per_class=10)


def make_pacs_tasks() -> Tasks:
    """Return PACS features in 3 tasks, tested on 240 rows."""
    test, train = _split_rows(datasets.read_pacs(), 240)
    return Tasks("pacs", train, test, 500)


def make_letter_tasks() -> Tasks:
    """Return UCI letters in 13 tasks, tested on 3,000 rows."""
    test, rest = _split_rows(datasets.read_letters(), 3000)
    return Tasks("letters", rest, test, 3000)
