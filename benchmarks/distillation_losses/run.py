"""Do two heads, or soft labels alone from a good start, beat plain distillation at equal updates?

CIFAR-10 (recompressed as JPEG, 32 x 32): 7,000 training and 3,000 test pictures of its test part,
flipped and shifted in training. MNIST: 2,000 training digits, which are not changed, so that
students come to fit their labels exactly, and 5,000 test digits. ResNet-8 teachers, trained once on
the labels; students of four convolutions, five seeds; all arms have the same pictures, order,
updates and recipe (SGD, as in the authors' code; gradients are clipped where they are extreme).

*Two heads* (the first teacher; both sets): cross-entropy of labels, distillation of probabilities
(KD with its defaults), distillation of logits alone, both losses in one head, and in two heads with
and without alignment of gradients, at weight 1. Said to happen: one head with both losses is worse
than either alone, two heads are better than either and than KD. Besides: the cosine between the
gradients of both losses, in the shared layers and in the head, after training in one head.

*Soft labels* (CIFAR-10; the mean probability of three teachers): from the student that labels
trained above, as many updates again, without weight decay: labels alone; soft labels alone; both;
soft labels with the discriminator of the authors' code (student and discriminator together), and
with a real adversary; and soft labels from random weights. Said to happen: soft labels beat labels,
adding labels gains nothing, a good start beats a random one; the discriminator's part is small.

Nothing is chosen on test labels: settings are those of the papers, the recipe was fixed before.
"""

from __future__ import annotations

from typing import Any

from benchmarks.distillation_losses import soft_labels, two_heads
from benchmarks.distillation_losses.setting import CIFAR, MNIST, load_setting


def run(small: bool = False) -> dict[str, Any]:
    """Return the tables of both studies, and what the sets, teachers and gradients are like."""
    tables, details = [], {}
    for name, n_teachers in ((MNIST, 1), (CIFAR, 3)):
        setting = load_setting(name, n_teachers, small)
        found, students = two_heads.compare(setting)
        tables.append(found.pop("table"))
        details[name] = {**setting.describe(), **found}
        if n_teachers > 1:
            tables.append(soft_labels.compare(setting, students))
    return {"tables": tables, "settings": details}
