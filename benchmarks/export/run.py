"""Does an exported file give the same answers as the model, and what do 8 bits cost?

Each model is fitted by `ilk.fit` to training images and written by what `ilk export` calls, which
compares the file with the model on held images in the forms that users have: odd sizes, 1:8, grey,
transparent, palettes, EXIF orientation, large. `different names` is the bar: 0 on 2,000 images. The
decisions that lie within rounding of their limit are counted on their own. OpenVINO reads one of
the files, and the 30-line runner answers in a fresh environment that holds neither torch nor ilk;
there, files are decoded by Pillow alone.

In 8 bits, over five draws of the training images: the loss of accuracy on the held images, in
points, and what temperature and thresholds cost that are kept from float32 (`kept`) instead of
fitted anew (`anew`), by the coverage of 90 % sets and the rate of false alarms at 5 %.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ilk
from benchmarks.export.eight_bits import measure_int8
from benchmarks.export.held_images import (
    Folders,
    count_forms,
    list_files,
    spread,
    write_folders,
)
from benchmarks.runner import shared_path
from ilk.artifacts.classifier import Classifier
from ilk.core.data import Data
from ilk.core.ensemble import Ensemble, Member
from ilk.core.errors import ArtifactError, Unavailable
from ilk.encoders.combined import combine_encoders
from ilk.encoders.registry import resolve_encoder
from ilk.export.build import OUTPUTS
from ilk.export.check_images import CheckImages, encode_check_images
from ilk.export.export_file import Export, export_classifier, read_runner
from ilk.export.session import Session
from ilk.images import read_images
from ilk.methods import parse
from ilk.store import Store
from ilk.trust.column_detector import ColumnDetector

EMBEDDED = "efficientnet-lite0"
N_REPEATS = 20
N_OPENVINO = 105


def run(small: bool = False) -> dict[str, Any]:
    """Return differences, sizes, latencies, and what 8 bits cost."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = Store(home / "store.sqlite") if small else Store()
        sizes = {"CIFAR-10": (12, 4), "PACS": (12, 4)} if small else {
            "CIFAR-10": (100, 158), "PACS": (30, 60),
        }  # fmt: skip
        sets = {name: write_folders(name, home / name, *n) for name, n in sizes.items()}
        models = []
        for spec in list_specs(small):
            models.append(measure_model(home, sets[spec["data"]], spec, store))
            models[-1]["data"] = spec["data"]
        models.append({**measure_ensemble(home, sets["PACS"], store, small), "data": "PACS"})
        held = [path for f in sets.values() for path in list_files(f.held)]
        result: dict[str, Any] = {
            "forms": count_forms(held),
            "models": models,
            "n_held": sum(m["n_images"] for m in models if m["is_main"]),
            "different_names": sum(m["different_names"] for m in models),
        }
        main = home / "model-1"
        result["runner"] = {"ran": False} if small else run_runner(main, sets["PACS"], store)
        result["openvino"] = run_openvino(main, sets["PACS"], store, 20 if small else N_OPENVINO)
        if not small:
            result["int8"] = measure_int8(home, 50, 60, store)
        return result


def list_specs(small: bool) -> list[dict[str, Any]]:
    """Return the models: data, encoders, methods, and on how many held images they are compared."""
    if small:
        return [
            {"data": "CIFAR-10", "encoders": ("hog", "pixels"), "methods": ("GDA", "KNearest")},
            {"data": "PACS", "encoders": ("hog@resize=letterbox",), "methods": ("GDA",)},
        ]
    specs: list[dict[str, Any]] = [
        {"data": "CIFAR-10", "encoders": (EMBEDDED, "hog"), "main": True},
        {"data": "PACS", "encoders": (EMBEDDED,), "main": True},
    ]
    for method in ("KNearest", "LogisticRegression", "NearestClassMean", "NaiveBayes"):
        specs.append({"data": "PACS", "encoders": (EMBEDDED,), "methods": (method,), "n": 56})
    encoders = [(f"{EMBEDDED}@resize=letterbox", 28), (f"{EMBEDDED}@resize=squash,views=3", 28)]
    encoders += [("hog/64", 105), ("pixels/24x24x1@resize=crop", 105)]
    encoders.append((f"local-dir:{shared_path('weights', 'mobilenetv2_100.imagenet')}", 28))
    for encoder, n in encoders:
        specs.append({"data": "PACS", "encoders": (encoder,), "methods": ("GDA",), "n": n})
    return specs


def measure_model(
    home: Path, folders: Folders, spec: dict[str, Any], store: Store
) -> dict[str, Any]:
    """Fit a model, export it and return how the file compares."""
    settings = {"methods": spec["methods"]} if "methods" in spec else {}
    classifier = ilk.fit(str(folders.train), encoders=spec["encoders"], store=store, **settings)
    assert isinstance(classifier, Classifier)
    number = len(list(home.glob("model-*")))
    folder = classifier.save(home / f"model-{number}")
    n, is_main = spec.get("n", 10_000), bool(spec.get("main"))
    return compare(classifier, folder, folders, store, n, is_main=is_main)


def compare(
    classifier: Classifier,
    folder: Path,
    folders: Folders,
    store: Store,
    n: int,
    *,
    is_main: bool,
) -> dict[str, Any]:
    """Export a classifier and return how the file compares on `n` held images."""
    images = read_held(classifier, folder, folders, store, n)
    p = classifier.score_batch(images.x).probabilities
    row = {
        "encoder": classifier.encoder.name.replace(str(shared_path("weights")), "…"),
        "method": str(classifier.metadata["method"]),
        "n_images": len(images),
        "is_main": is_main,
        "accuracy": float(np.mean(p.argmax(1) == images.y)),
    }
    try:
        export = export_classifier(classifier, folder, images, folder / "model.onnx")
    except ArtifactError as error:
        return {**row, "refused": str(error), "different_names": len(images)}
    return {**row, **describe_export(export), **measure_latency(classifier, export, images)}


def measure_ensemble(home: Path, folders: Folders, store: Store, small: bool) -> dict[str, Any]:
    """Export an ensemble of three heads on two encoders, whether or not a fit would choose it."""
    encoders = ("pixels/12x12x3" if small else EMBEDDED, "hog")
    first = ilk.fit(str(folders.train), encoders=encoders[:1], methods=("GDA",), store=store)
    assert isinstance(first, Classifier)
    encoder = combine_encoders((first.encoder, resolve_encoder(encoders[1])))
    number = len(list(home.glob("model-*")))
    folder = first.save(home / f"model-{number}")
    both = replace(first, encoder=encoder)
    rows = encode_check_images(
        both, read_images(str(folders.train), store=store), folder, "", store, limit=10_000
    )
    middle, end = first.encoder.space.dim, encoder.space.dim
    ensemble = Ensemble(
        (
            Member(parse("GDA"), ((0, middle),), 0.5, 2.0, 0.01),
            Member(parse("KNearest"), ((middle, end),), 0.2, 1.0, 0.01),
            Member(parse("LogisticRegression"), ((0, middle), (middle, end)), 0.3, 1.0, 0.01),
        )
    )
    classifier = replace(
        both,
        model=ensemble.fit(Data(rows.x, rows.y, first.classes)),
        ood_detector=ColumnDetector.from_detector(first.ood_detector, 0),
        metadata={**first.metadata, "method": ensemble.description},
    )
    return compare(classifier, folder, folders, store, 105, is_main=False)


def read_held(
    classifier: Classifier, folder: Path, folders: Folders, store: Store, n: int
) -> CheckImages:
    """Return held images, `n` of them at most."""
    images = read_images(str(folders.held), store=store)
    return encode_check_images(classifier, images, folder, "held images", store, limit=n)


def describe_export(export: Export) -> dict[str, Any]:
    """Return what the comparison of a file found."""
    parity = export.parity
    return {
        "different_names": parity.different_labels,
        "different_sets": parity.different_sets,
        "different_unknown": parity.different_unknown,
        "near_ties": parity.n_near_ties,
        "max_probability_difference": parity.max_probability_difference,
        "max_score_difference": parity.max_score_difference,
        "megabytes": export.n_bytes / 1e6,
    }


def measure_latency(
    classifier: Classifier, export: Export, images: CheckImages
) -> dict[str, float]:
    """Return the time of the file per image of 227 x 227 pixels, over that of ilk, in turns."""
    from PIL import Image

    pixels = np.asarray(Image.fromarray(images.decode(0)).resize((227, 227)))
    session, encoder = Session(export.path.read_bytes()), classifier.encoder
    encoder.load()

    def ask_ilk() -> None:
        classifier.score_batch(encoder.embed(encoder.prepare(Image.fromarray(pixels))[None]))

    times: dict[str, list[float]] = {"file": [], "ilk": []}
    for _ in range(N_REPEATS):
        for name, ask in (("file", lambda: session.run(pixels[None])), ("ilk", ask_ilk)):
            start = time.perf_counter()
            ask()
            times[name].append(time.perf_counter() - start)
    return {"latency_ratio": float(np.median(times["file"]) / np.median(times["ilk"]))}


def run_openvino(folder: Path, folders: Folders, store: Store, n: int) -> dict[str, Any]:
    """Return how OpenVINO's answers compare, from the same file."""
    import openvino

    classifier = ilk.load(folder)
    assert isinstance(classifier, Classifier)
    images = read_held(classifier, folder, folders, store, n)
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled: Any = openvino.Core().compile_model(str(folder / "model.onnx"), "CPU", config)
    expected = classifier.score_batch(images.x)
    names, difference, sets, unknown = 0, 0.0, 0, 0
    for i in range(len(images)):
        answer = compiled([images.decode(i)[None]])
        label, p, in_set, flag = (np.array(answer[name]) for name in OUTPUTS[:4])
        names += int(label[0] != expected.probabilities[i].argmax())
        difference = max(difference, float(np.abs(p[0] - expected.probabilities[i]).max()))
        sets += int((in_set[0] != expected.prediction_sets[i]).any())
        unknown += int(flag[0] != expected.is_unknown[i])
    return {
        "n_images": len(images),
        "different_names": names,
        "different_sets": sets,
        "different_unknown": unknown,
        "max_probability_difference": difference,
    }


def run_runner(folder: Path, folders: Folders, store: Store) -> dict[str, Any]:
    """Return how the runner answers in an environment with onnxruntime and Pillow alone."""
    home = folder.parent / "environment"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, capture_output=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "onnxruntime", "pillow"]
        subprocess.run(pip, check=True, capture_output=True, timeout=240)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"a fresh environment needs a network: {error}") from error
    script = folder / "run_model.py"
    script.write_text(read_runner())
    files = spread(list_files(folders.held), 210)
    command = [str(home / "bin" / "python"), "-I", str(script), str(folder / "model.onnx")]
    answer = subprocess.run(
        [*command, *map(str, files)], check=True, capture_output=True, text=True
    )
    names = [line.split(": ", 1)[1].split("  ")[0] for line in answer.stdout.splitlines()]
    classifier = ilk.load(folder)
    predictions: Any = classifier.predict([str(path) for path in files], store=store)
    packages = subprocess.run(
        [str(home / "bin" / "python"), "-m", "pip", "list", "--format", "json"],
        check=True,
        capture_output=True,
        text=True,
    )
    return {
        "ran": True,
        "n_images": len(files),
        "different_names": sum(p.name != name for p, name in zip(predictions, names, strict=True)),
        "packages": sorted(p["name"] for p in json.loads(packages.stdout)),
    }
