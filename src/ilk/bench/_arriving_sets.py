"""Sets whose classes arrive in tasks, and who learns from them, for `ilk.bench.growing`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ilk.bench import _sets
from ilk.bench._family import Claim
from ilk.data import Data
from ilk.methods.elastic_weights import ElasticWeights
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.generative_kernel import GenerativeKernel
from ilk.methods.learning_without_forgetting import LearningWithoutForgetting
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.replay import Replay
from ilk.methods.streaming_gda import StreamingGDA
from ilk.methods.weight_aligning import WeightAligning
from ilk.models import Method
from ilk.protocols import Step, class_tasks
from ilk.training.continual import learn

STEPS = 100  # updates a task
RIVALS = ("fine-tuning", "LwF", "EWC")
KEPT, MORE = "stored kernel, same bytes", "stored kernel, 4 times the bytes"
OURS, DISTIL, MIXED = "weight aligning", "distillation, not aligned", "generative kernel"
CLIPPED = "distillation, clipped, not aligned"
CLAIMS = (
    *(Claim("class-incremental-survey", "methods/replay.py", "replay", r) for r in RIVALS),
    *(Claim("class-incremental-survey", "methods/replay.py", "iCaRL", r) for r in RIVALS),
    *(
        Claim("weight-aligning", "methods/weight_aligning.py", OURS, r)
        for r in (DISTIL, CLIPPED, "fine-tuning", "replay")
    ),
    *(
        Claim("generative-kernel-continual", "methods/generative_kernel.py", MIXED, r)
        for r in (KEPT, MORE, "fine-tuning", "replay")
    ),
)


@dataclass(frozen=True)
class Tasks:
    """A set whose classes come in tasks.

    Attributes:
        name: Of the set.
        train, test: Rows.
        learn: Rows to learn from for each seed.
        ways: Classes of a task.
    """

    name: str
    train: Data
    test: Data
    learn: int
    ways: int = 2

    @property
    def where(self) -> str:
        """What a table says of it."""
        return f"{self.name}, {self.train.k // self.ways} tasks of {self.ways} classes"

    def steps(self, seed: int) -> list[Step]:
        """Rows, order of classes and draws of a seed."""
        rows = np.random.default_rng(seed).permutation(len(self.train))[: self.learn]
        sizes = [self.ways] * (self.train.k // self.ways)
        return list(class_tasks(self.train.rows(rows), self.test, sizes, seed))


def contenders(exemplars: int, seed: int) -> dict[str, Method]:
    """Those that train a head, by name."""
    more: dict[str, Any] = {"steps": STEPS, "seed": seed}
    return {
        "fine-tuning": FineTuning(**more),
        "LwF": LearningWithoutForgetting(**more),
        "EWC": ElasticWeights(**more),
        **rehearsing(exemplars, seed),
    }


def rehearsing(exemplars: int, seed: int) -> dict[str, Method]:
    """Those that keep exemplars."""
    more: dict[str, Any] = {"exemplars": exemplars, "steps": STEPS, "seed": seed}
    return {
        "replay": Replay(**more),
        "iCaRL": Replay(distil=1.0, nearest=True, **more),
        DISTIL: WeightAligning(align=False, clip=False, **more),
        OURS: WeightAligning(**more),
    }


def closed(latents: int, seed: int) -> dict[str, Method]:
    """Those in closed form, the kernels with so many loadings."""
    return {
        MIXED: GenerativeKernel(latents=latents, seed=seed),
        KEPT: GenerativeKernel(latents=latents, stored=True, seed=seed),
        MORE: GenerativeKernel(latents=4 * latents + 6, stored=True, seed=seed),
        "streaming GDA": StreamingGDA(),
        "nearest mean": NearestClassMean(),
    }


def streamed(tasks: Tasks, seeds: int) -> float:
    """Largest difference of a logit between rows in tasks, in any order, and all at once."""
    worst, method = 0.0, StreamingGDA()
    for seed in range(seeds):
        steps = tasks.steps(seed)
        model = learn(method, steps)[-1].model
        whole = steps[-1].train
        for step in steps[:-1]:
            whole = whole.concat(step.train)
        batch = method.fit(whole).logits(tasks.test.x)
        worst = max(worst, float(np.abs(model.logits(tasks.test.x) - batch).max()))
    return worst


def _cut(data: Data, at: int) -> tuple[Data, Data]:
    order = np.random.default_rng(0).permutation(len(data))
    return data.rows(order[:at]), data.rows(order[at:])


def digits() -> Tasks:
    """See `ilk.bench.growing`."""
    return Tasks("digits", *_cut(_sets.digits(), 1000), 800)


def fashion() -> Tasks:
    """See `ilk.bench.growing`."""
    return Tasks("fashion", _sets.fashion(), _cut(_sets.fashion("test"), 2000)[0], 2000)


def cifar() -> Tasks:
    """See `ilk.bench.growing`."""
    return Tasks("cifar", _sets.cifar(), _cut(_sets.cifar("test"), 2000)[0], 2000)


def letters() -> Tasks:
    """See `ilk.bench.growing`."""
    tested, rest = _cut(_sets.letters(), 3000)
    return Tasks("letters", rest, tested, 3000)
