"""Ways of cutting data into steps: learn from one part, answer for the other.

A protocol knows no method: a label condition (few, wrong, unbalanced, growing or missing labels,
another world) is a way of cutting data. Those that spoil labels or shares give `Data`; those that
say what is learnt from and what is answered for give a `Step`, or several one after the other.
"""

from ilk.protocols.domains import leave_one_domain_out, stream
from ilk.protocols.folds import NEVER, steps, stratified_folds, what_folds_miss
from ilk.protocols.noise import asymmetric_noise, proportional_noise, relabelled, symmetric_noise
from ilk.protocols.one_class import one_normal
from ilk.protocols.shares import long_tail, shifted
from ilk.protocols.shots import episodes, few_labels, few_shot
from ilk.protocols.step import Step
from ilk.protocols.tasks import class_tasks, few_shot_increments
from ilk.protocols.unseen import unseen_classes

__all__ = [
    "NEVER",
    "Step",
    "asymmetric_noise",
    "class_tasks",
    "episodes",
    "few_labels",
    "few_shot",
    "few_shot_increments",
    "leave_one_domain_out",
    "long_tail",
    "one_normal",
    "proportional_noise",
    "relabelled",
    "shifted",
    "steps",
    "stratified_folds",
    "stream",
    "symmetric_noise",
    "unseen_classes",
    "what_folds_miss",
]
