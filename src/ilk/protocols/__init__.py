"""Evaluation protocols: ways of splitting data into training and test parts.

A protocol is independent of methods: a label condition (few, noisy, imbalanced, incremental or
missing labels, a new domain) is a way of splitting data. Protocols that change labels or class
frequencies return `Data`; those that split into training and test parts return or yield `Step`.
"""

from ilk.protocols.domains import domain_stream, leave_one_domain_out
from ilk.protocols.folds import (
    NEVER_TESTED,
    cross_validation_steps,
    describe_fold_limits,
    stratified_folds,
)
from ilk.protocols.noise import (
    asymmetric_noise,
    proportional_noise,
    replace_labels,
    symmetric_noise,
)
from ilk.protocols.one_class import one_class_split
from ilk.protocols.proportions import label_shift, long_tail
from ilk.protocols.shots import episodes, few_labels, few_shot
from ilk.protocols.step import Step
from ilk.protocols.tasks import class_tasks, few_shot_increments
from ilk.protocols.unseen import unseen_classes

__all__ = [
    "NEVER_TESTED",
    "Step",
    "asymmetric_noise",
    "class_tasks",
    "cross_validation_steps",
    "describe_fold_limits",
    "domain_stream",
    "episodes",
    "few_labels",
    "few_shot",
    "few_shot_increments",
    "label_shift",
    "leave_one_domain_out",
    "long_tail",
    "one_class_split",
    "proportional_noise",
    "replace_labels",
    "stratified_folds",
    "symmetric_noise",
    "unseen_classes",
]
