"""The ways to learn an embedding of frozen features, each with what is tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.retrieval_sets import WIDTH, Arm, Matrix
from ilk.architectures.metric_head import MetricHead
from ilk.metric_learning.training import EmbeddingRecipe
from ilk.training.metric_objective import MetricObjective
from ilk.training.objectives import list_objectives
from ilk.training.objectives.contrastive_pairs import ContrastivePairs
from ilk.training.objectives.energy_confusion import EnergyConfusion
from ilk.training.objectives.metrix import Metrix
from ilk.training.objectives.multi_similarity import MultiSimilarity
from ilk.training.objectives.semi_hard_triplet import SemiHardTriplet
from ilk.training.objectives.sup_con import SupCon

LOSSES = (
    "ContrastivePairs",
    "SemiHardTriplet",
    "MultiSimilarity",
    "ProxyAnchor",
    "ArcFace",
    "NormalizedSoftmax",
    "SupCon",
)
RECIPE = EmbeddingRecipe(steps=150)
LEARNING_RATES = (1e-3, 6e-3)
CONFUSION_WEIGHTS = (0.01, 0.1, 0.5)
DOUBLED = replace(RECIPE, n_rows=2 * RECIPE.n_rows)
METRIX_MS, METRIX_CONTRASTIVE = "Metrix(MultiSimilarity)", "Metrix(ContrastivePairs)"
DOUBLED_MS, DOUBLED_CONTRASTIVE = (
    "MultiSimilarity, doubled batch",
    "ContrastivePairs, doubled batch",
)
CONFUSED_TRIPLET, CONFUSED_SUPCON = "EnergyConfusion(SemiHardTriplet)", "EnergyConfusion(SupCon)"
SMALLER_MARGIN, WEIGHT_DECAY, DROPOUT = (
    "SemiHardTriplet, smaller margin",
    "SemiHardTriplet, weight decay",
    "SemiHardTriplet, dropout",
)
WARMER_SUPCON = "SupCon, other temperature"


def list_first_arms() -> dict[str, Arm]:
    """Return the standard losses, Metrix and doubled batches, by name."""
    kinds = list_objectives()
    arms = {name: _make_standard(kinds[name]) for name in LOSSES}  # type: ignore[arg-type]
    ms, contrastive = arms["MultiSimilarity"], arms["ContrastivePairs"]
    arms[METRIX_MS] = replace(ms, make_objective=lambda v: Metrix(MultiSimilarity(v)))
    arms[DOUBLED_MS] = replace(ms, recipe=DOUBLED)
    arms[METRIX_CONTRASTIVE] = replace(
        contrastive, make_objective=lambda v: Metrix(ContrastivePairs(v))
    )
    arms[DOUBLED_CONTRASTIVE] = replace(contrastive, recipe=DOUBLED)
    return arms


def list_confused_arms(margin: float, temperature: float) -> dict[str, Arm]:
    """Return energy confusion and its rivals, at the settings chosen for the plain losses.

    Args:
        margin: Of the triplet loss.
        temperature: Of the supervised contrastive loss.
    """

    def make(objective: Callable[[float], MetricObjective], values: tuple[float, ...]) -> Arm:
        return Arm(objective, values, RECIPE, learning_rates=LEARNING_RATES)

    return {
        CONFUSED_TRIPLET: make(
            lambda w: EnergyConfusion(SemiHardTriplet(margin), w), CONFUSION_WEIGHTS
        ),
        SMALLER_MARGIN: make(lambda f: SemiHardTriplet(f * margin), (0.25, 0.5, 0.75)),
        CONFUSED_SUPCON: make(lambda w: EnergyConfusion(SupCon(temperature), w), CONFUSION_WEIGHTS),
        WARMER_SUPCON: make(lambda f: SupCon(f * temperature), (0.7, 1.4, 2.0)),
    }


def list_decay_arms(margin: float) -> dict[str, tuple[Arm, ...]]:
    """Return the triplet loss with weight decay and with dropout, one arm per value of each."""

    def make(_value: float) -> MetricObjective:
        return SemiHardTriplet(margin)

    plain = Arm(make, (margin,), RECIPE, learning_rates=LEARNING_RATES)
    return {
        WEIGHT_DECAY: tuple(
            replace(plain, recipe=replace(RECIPE, weight_decay=d)) for d in (0.01, 0.1, 1.0)
        ),
        DROPOUT: tuple(replace(plain, make_network=_DropoutHead.maker(p)) for p in (0.1, 0.3, 0.5)),
    }


def _make_standard(kind: type[MetricObjective]) -> Arm:
    assert kind.TUNED is not None, "every standard loss has a setting"
    name, values = kind.TUNED
    return Arm(lambda v: kind(**{name: v}), values, RECIPE, learning_rates=LEARNING_RATES)


class _DropoutHead(nn.Module):
    """A linear head whose features are dropped at random in training."""

    def __init__(self, head: MetricHead, p: float) -> None:
        super().__init__()
        self.head, self.p = head, p

    @classmethod
    def maker(cls, p: float) -> Callable[[Matrix, int], nn.Module]:
        """Return what makes a head of this dropout from rows and a seed."""
        return lambda x, seed: cls(MetricHead.from_data(x, WIDTH, seed=seed), p)

    def forward(self, x: Tensor) -> Tensor:
        u = self.head.forward_features(x)
        return self.head.project(functional.dropout(u, self.p, self.training))
