"""Define the state that is passed from model selection to `finalize`."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.capabilities import Embeds, Explains
from ilk.core.contracts import Method
from ilk.core.data import Data
from ilk.core.duplicate_leaks import DuplicateLeaks
from ilk.core.held_together import HeldTogether
from ilk.core.leaderboard import Leaderboard
from ilk.core.metrics import Probabilities
from ilk.fitting.config import FitConfig
from ilk.fitting.split import Split
from ilk.images import Images
from ilk.images.duplicates.near_pairs import NearPair


@dataclass(frozen=True, eq=False)
class FitState:
    """Result of model selection.

    Attributes:
        config: Settings of the fit.
        images: All input files and their status.
        split: The used images by their role.
        encoder: Selected encoder.
        method: Selected method.
        features: Features of the selected encoder: those of `split.train`, then those of
            `split.unlabelled`.
        leaderboard: Scores of all candidates.
        detector_columns: First column and the one after the last of the features for
            out-of-distribution detection; None is all of them.
        explainers: Encoders that can explain their class scores.
        near_pairs: Nearly the same pictures among the used images.
        held_together: The accuracy with clusters of images that depend on each other held together;
            None if there are none that matter, or groups are given.
        duplicate_leaks: Copies of one picture that were found, and the accuracy with and without
            leaks; None if they were not asked for.
        audit_probabilities: Out-of-fold probabilities that labels are compared with, `[n, k]`, if
            not those of the leaderboard: those of images dealt one by one, because the other images
            of a cluster are the best witnesses of a single wrong label.
    """

    config: FitConfig
    images: Images
    split: Split
    encoder: Embeds
    method: Method
    features: Data
    leaderboard: Leaderboard
    detector_columns: tuple[int, int] | None = None
    explainers: tuple[Explains, ...] = ()
    near_pairs: tuple[NearPair, ...] = ()
    held_together: HeldTogether | None = None
    duplicate_leaks: DuplicateLeaks | None = None
    audit_probabilities: Probabilities | None = None

    @property
    def train(self) -> Data:
        """The labelled rows of `features`."""
        return self.features.take_labelled()
