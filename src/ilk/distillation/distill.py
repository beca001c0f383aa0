"""Distil saved classifiers into a small one: from images and teachers to a classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.evaluation import Evaluation
from ilk.core.errors import InputError
from ilk.core.fingerprint import compute_key
from ilk.core.progress import Progress, silent_progress
from ilk.distillation.assemble import assemble_classifier, make_encoder, make_head
from ilk.distillation.augmentation_choice import AugmentationTrial
from ilk.distillation.comparison import (
    LABELS_ALONE,
    STUDENT,
    Competitor,
    compare,
    describe_difference,
    describe_reduction,
)
from ilk.distillation.config import DistillConfig
from ilk.distillation.losses import Loss, parse_loss
from ilk.distillation.network_cost import N_TIMED, Cost, measure_cost, measure_seconds
from ilk.distillation.parts import Parts, divide_images
from ilk.distillation.report import finish_classifier
from ilk.distillation.students import Student, open_student
from ilk.distillation.teachers import TOGETHER, Teachers
from ilk.distillation.train import train_student
from ilk.distillation.training_data import TrainingData, keep_labelled, prepare_training_data
from ilk.encode import encode_and_refuse
from ilk.images import Images
from ilk.images.labelled_rows import digest_rows
from ilk.store import Store

if TYPE_CHECKING:
    from torch import nn

    from ilk.training.teacher_objective import TeacherObjective
    from ilk.training.validation import ValidationResult

STATE = ".ilk.distill-{}.part"  # of an unfinished training, in the output folder


@dataclass(frozen=True, eq=False)
class Distillation:
    """What `distill` returns.

    Attributes:
        classifier: The student, calibrated; `save` also writes its report.
        evaluation: Its answers to the images that it is judged on.
        competitors: The teachers, the student and, if it was asked for, the same student trained on
            labels alone.
        augmentations: Accuracy of the teachers on augmented images.
        parts: Images by their use.
        images: All images, with those that cannot be used.
        notes: Sentences about the result.
    """

    classifier: Classifier
    evaluation: Evaluation
    competitors: tuple[Competitor, ...]
    augmentations: tuple[AugmentationTrial, ...]
    parts: Parts
    images: Images
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return describe_result(self.competitors, self.augmentations, self.parts, self.notes)


@dataclass(eq=False)
class _Run:
    """One distillation: what every step reads."""

    teachers: Teachers
    images: Images
    folder: Path
    config: DistillConfig
    store: Store
    device: str
    runtime: str
    progress: Progress
    log: Callable[[str], None]
    notes: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)  # of the teachers

    def train(
        self, data: TrainingData, objective: Any, what: str, n_classes: int
    ) -> tuple[nn.Module, ValidationResult]:
        """Train the student with an objective; an interrupted run continues where it was."""
        network, result = train_student(
            data.student,
            n_classes,
            data.source,
            objective,
            data.augmentations,
            data.validation,
            self.config,
            device=self.device,
            state=self._find_state(data, what),
            progress=self.progress,
        )
        if result.note:
            self.notes.append(f"{what}: {result.note}")
        return network, result

    def _find_state(self, data: TrainingData, what: str) -> Path:
        """Return the file of a training's state, named by all that the training depends on."""
        run = {
            "config": asdict(self.config),
            "teachers": [hashlib.sha256(t.tobytes()).hexdigest() for t in data.teacher_logits],
            "weights": self.weights,
            "images": digest_rows((*data.parts.train, *data.parts.validation)),
            "student": [data.student.name, data.student.settings],
            "what": what,
        }
        return self.folder / STATE.format(compute_key(run)[:12])

    def build(
        self, data: TrainingData, network: nn.Module, result: ValidationResult
    ) -> tuple[Classifier, Evaluation]:
        """Return the calibrated classifier of a trained network, and its evaluation."""
        ended = {
            "updates": result.stopped_at,
            "best_update": result.step,
            "validation_log_loss": -result.value,
            "loss": self.config.loss,
        }
        encoder = make_encoder(
            data.student,
            network,
            data.parts,
            self.folder,
            ended,
            device=self.device,
            runtime=self.runtime,
        )
        images = encode_and_refuse(self.images, [encoder], self.store, progress=self.progress)
        if lost := len(self.images.used) - len(images.used):
            raise InputError(f"{lost} images changed while the student was trained; run it again")
        return assemble_classifier(
            encoder,
            make_head(network),
            data.parts,
            self.config,
            self.store,
            ordered=bool(self.teachers.members[0].metadata.get("ordered")),
        )


def distill(
    teacher: Classifier | Sequence[Classifier],
    images: Images,
    folder: Path,
    config: DistillConfig | None = None,
    *,
    store: Store | None = None,
    device: str = "auto",
    runtime: str = "auto",
    force: bool = False,
    progress: Progress = silent_progress,
    log: Callable[[str], None] = lambda _line: None,
) -> Distillation:
    """Train a small network on what classifiers say of images, and make it a classifier.

    The mean of the probabilities of several teachers teaches, unless the loss takes each by itself
    (`SimilarSources`).

    Args:
        teacher: A classifier of any kind, or several of the same classes, in whatever order; with
            `SimilarSources`, those after the first may have others.
        images: Images, labelled and not; a test split is kept for the end.
        folder: Where the student will be saved; the state of its training is kept there meanwhile.
        config: Settings; the defaults work.
        store: Cache of encoded images; the user's own by default.
        device: Where to train and to run.
        runtime: What the student's encoder runs on.
        force: Train a student that is larger than its teacher, too.
        progress: Reports the progress of long operations.
        log: Called with a message about each step.

    Returns:
        The student, and how it compares with the teacher.

    Raises:
        NoImages: No file can be used.
        NoLabels: No image has a label.
        InputError: The teacher does not know the classes, teachers know different ones, there are
            too few images, the student is larger than the teachers, or a setting is wrong.
        Unavailable: A device is not available on this machine.
        OutputError: The state of the training cannot be written.
    """
    config, store = config or DistillConfig(), store if store is not None else Store()
    loss = parse_loss(config.loss)
    teachers = Teachers.of(teacher, takes_sources=loss.takes_sources)
    images.check_not_empty()
    student = open_student(config, images.used)
    costs = [measure_cost(member) for member in teachers.members]
    costs += [measure_cost(*teachers.members)] * (len(costs) > 1)
    _check_size(student, teachers, costs[-1], force=force)
    images = teachers.use_ranges(images, store, progress)
    first = teachers.members[0]
    divide_images(images, first, config.hold_out, config.seed)  # before any work
    log(f"computing the teacher's predictions for {len(images.used):,} images")
    images = encode_and_refuse(images, teachers.encoders, store, progress=progress)
    parts = divide_images(images, first, config.hold_out, config.seed)
    run = _Run(
        teachers, images, folder, config, store, device, runtime, progress, log, list(parts.notes)
    )
    data = prepare_training_data(
        teachers,
        images,
        student,
        parts,
        config,
        store,
        progress,
        takes_sources=loss.takes_sources,
    )
    run.notes += [data.note] if data.note else []
    objective = _make_objective(run, loss, data)
    n_classes = len(teachers.classes)
    log(f"training {config.student} on {len(parts.train):,} images")
    network, result = run.train(data, objective, STUDENT, n_classes)
    classifier, evaluation = run.build(data, network, result)
    rivals = {STUDENT: (classifier, evaluation)}
    if config.compare_labels:
        from ilk.training.objectives.cross_entropy import CrossEntropy

        log(f"training {config.student} on the labels alone")
        labelled = keep_labelled(data)
        network, result = run.train(labelled, CrossEntropy(), LABELS_ALONE, n_classes)
        rivals[LABELS_ALONE] = run.build(labelled, network, result)
    competitors = _compare(run, parts, costs, rivals)
    notes = [describe_reduction(competitors), *run.notes]
    if config.compare_labels:
        answers = {name: e.scored.probabilities for name, (_, e) in rivals.items()}
        notes.insert(0, describe_difference(answers, evaluation.y, evaluation.groups))
    notes += _describe_augmentations(data.trials)
    notes += teachers.describe_seen(images, parts.judged)
    notes += [classifier.conformal.note, classifier.ood_detector.note]
    notes = [note for note in notes if note]
    finished = finish_classifier(
        classifier, evaluation, competitors, data.trials, parts, notes, images, config, store
    )
    return Distillation(finished, evaluation, competitors, data.trials, parts, images, tuple(notes))


def delete_states(folder: Path) -> None:
    """Delete what unfinished trainings have left in an output folder."""
    for path in folder.glob(STATE.format("*")):
        path.unlink(missing_ok=True)


def describe_result(
    competitors: tuple[Competitor, ...],
    augmentations: tuple[AugmentationTrial, ...],
    parts: Parts,
    notes: tuple[str, ...],
) -> dict[str, Any]:
    """Return the result of a distillation as plain values."""
    return {
        "comparison": [row.to_json() for row in competitors],
        "judged_on": parts.judged_name,
        "augmentations": [asdict(trial) for trial in augmentations],
        "images": {
            "train": len(parts.train),
            "labelled": sum(row.label is not None for row in parts.train),
            "validation": len(parts.validation),
            "calibration": len(parts.calibration),
            "test": len(parts.test),
        },
        "notes": list(notes),
    }


def _make_objective(run: _Run, loss: Loss, data: TrainingData) -> TeacherObjective:
    """Return the objective of the student, and note the weights of several teachers."""
    import torch

    answers = [torch.from_numpy(logits) for logits in data.teacher_logits]
    count = len(run.teachers.members)
    if not loss.takes_sources:
        run.weights = [1 / count] * count
        return loss(answers[0])
    similarities = None
    if loss.needs_similarities and count > 1:
        similarities = run.teachers.measure_similarities(data.parts, run.store)
    objective = loss(answers, similarities)
    run.weights = list(cast(Any, objective).weights)
    if note := run.teachers.describe_weights(run.weights, similarities):
        run.notes.append(note)
    return objective


def _check_size(student: Student, teachers: Teachers, cost: Cost, *, force: bool) -> None:
    """Raise InputError if a student has more weights than its teachers together."""
    n = sum(p.numel() for p in student.build(len(teachers.classes), 0).parameters())
    if force or cost.parameters is None or n <= cost.parameters:
        return
    who = "the teacher" if len(teachers.members) == 1 else "the teachers together"
    raise InputError(
        f"the student {student.name} has {n:,} parameters and {who} {cost.parameters:,} "
        "(networks and model together), and a student should be smaller; choose a smaller one, or "
        "pass --force"
    )


def _compare(
    run: _Run,
    parts: Parts,
    costs: Sequence[Cost],
    rivals: dict[str, tuple[Classifier, Evaluation]],
) -> tuple[Competitor, ...]:
    """Return the rows of the comparison: each teacher, several together, and the students.

    Args:
        run: The distillation.
        parts: Images by their use.
        costs: Of each teacher, and of several together.
        rivals: The students by name.
    """
    evaluation, teachers = rivals[STUDENT][1], run.teachers
    answers = teachers.answer(parts.judged, run.store)
    together = teachers.mix(answers, run.weights)
    *seconds, student_seconds = _measure_seconds(
        run, parts, [*teachers.members, rivals[STUDENT][0]]
    )
    entries = [
        (
            name,
            f"{member.metadata.get('method', '')} on {member.encoder.name}",
            p if teachers.knows_classes(member) else None,
        )
        for name, member, p in zip(teachers.names, teachers.members, answers, strict=True)
    ]
    if len(entries) > 1:
        entries.append((TOGETHER, "their weighted mean", together))
        seconds.append(sum(seconds))
    rows = [
        compare(*entry, together, evaluation.y, evaluation.groups, cost, each)
        for entry, cost, each in zip(entries, costs, seconds, strict=True)
    ]
    for name, (classifier, judged) in rivals.items():
        loss = run.config.loss if name == STUDENT else "CrossEntropy"
        rows.append(
            compare(
                name,
                f"{run.config.student}, {loss}",
                judged.scored.probabilities,
                together,
                judged.y,
                judged.groups,
                measure_cost(classifier),
                student_seconds if name == STUDENT else None,
            )
        )
    return tuple(rows)


def _measure_seconds(run: _Run, parts: Parts, classifiers: list[Classifier]) -> list[float]:
    from ilk.encode.encode_task import prepare_row
    from ilk.images import MAX_PIXELS

    encoders = [classifier.encoder for classifier in classifiers]
    prepared = [
        prepare_row(run.images, row, encoders, MAX_PIXELS, summarize=False).arrays
        for row in parts.judged[:N_TIMED]
    ]
    pixels = [np.stack([arrays[i] for arrays in prepared]) for i in range(len(encoders))]
    return measure_seconds(classifiers, pixels)


def _describe_augmentations(trials: tuple[AugmentationTrial, ...]) -> list[str]:
    unused = [f"{t.name} ({t.accuracy:.1%} accuracy)" for t in trials if not t.is_used]
    if not unused:
        return []
    note = (
        f"the teacher does not recognize images that are {', '.join(unused)}, so the student is "
        "not trained on such images"
    )
    return [note]
