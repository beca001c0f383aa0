"""Situations in which something was lost or corrupted, and edited model folders."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.robustness.commands import Outcome, call, spawn
from benchmarks.robustness.hostile_files import make_png
from benchmarks.robustness.inputs import write_folder
from benchmarks.robustness.saved_things import sign
from benchmarks.robustness.situations import Desk, Situation, answer

Edit = Callable[[Path, dict[str, object]], None]
SAFE, MODELS = "nothing lost", "edited models"


def _locked_folder(desk: Desk) -> Outcome:
    from ilk.core.folder_transaction import lock_folder

    home = desk.copy_model()
    new = write_folder(desk.root / "new", 4, {"grid": "dots"}, first=900)
    with lock_folder(home):
        return spawn("add", home, new, "--force")


def _leftovers(desk: Desk) -> Outcome:
    home = desk.copy_model()
    (home / "model.json.ilk-new").write_text("{")
    (home / ".report.html.ilk-new.host.123.part").write_text("<p>")
    outcome = call("fit", desk.images, "--encoder", "pixels/8x8x3", "--out", home)
    left = [path.name for path in home.iterdir() if path.suffix in (".ilk-new", ".part")]
    return outcome if not left else answer(f"left over: {left}", 1)


def _line(width: int, height: int) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        write_folder(desk.root / "photos", 3)
        path = desk.root / "photos" / "ring" / "line.png"
        path.write_bytes(make_png(width, height, b"x\x9c\x03\x00\x00\x00\x00\x01"))
        return call("check", desk.root / "photos")

    return run


def _out_is_an_image(desk: Desk) -> Outcome:
    image = write_folder(desk.root / "photos", 3) / "ring" / "000.png"
    before = image.read_bytes()
    outcome = call("check", desk.root / "photos", "--out", image)
    return outcome if image.read_bytes() == before else answer("the image is gone", 70)


def _rows_over_an_image(desk: Desk) -> Outcome:
    image = write_folder(desk.root / "photos", 3) / "ring" / "000.png"
    table = image.rename(image.with_suffix(".csv"))
    before = table.read_bytes()
    outcome = call("predict", desk.model, desk.root / "photos", "--out", table)
    return outcome if table.read_bytes() == before else answer("the image is gone", 70)


def _model_inside_images(desk: Desk) -> Outcome:
    photos = write_folder(desk.root / "photos", 4)
    return call("fit", photos, "--encoder", "pixels/8x8x3", "--out", photos / "model")


def _damaged_store(desk: Desk) -> Outcome:
    from ilk.artifacts.loading import load
    from ilk.store import Store

    path, model = desk.root / "store.sqlite", load(desk.model)
    images = sorted(map(str, desk.images.glob("*/000.png")))
    before = [repr(p) for p in model.predict(images, store=Store(path))]
    with sqlite3.connect(path) as db:
        db.execute("UPDATE features SET value = zeroblob(length(value))")
    after = [repr(p) for p in model.predict(images, store=Store(path))]
    return answer("the same answers" if before == after else "other answers")


def _locked_store(desk: Desk) -> Outcome:
    from ilk.store import Store

    path = desk.root / "store.sqlite"
    Store(path).close()
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("BEGIN EXCLUSIVE")
        return spawn("predict", desk.model, desk.images, env={"ILK_STORE": str(path)})


def _flipped_diffusion(desk: Desk) -> Outcome:
    home = _pretrain(desk)
    path = home / "diffusion.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 64
    path.write_bytes(bytes(content))
    return call("draw", home, "--out", desk.root / "x.png")


def _renamed_diffusion(desk: Desk) -> Outcome:
    home = _pretrain(desk)
    path = home / "diffusion.json"
    path.write_text(path.read_text().replace('"ring"', '"ringo"'))
    return call("draw", home, "--out", desk.root / "x.png")


def _pretrain(desk: Desk) -> Path:
    home = desk.root.parent / "situations diffusion"
    if not home.exists():
        tiny = ("--image-size", "8", "--width", "8", "--updates", "2", "--folds", "0")
        call("pretrain", desk.images, *tiny, "--out", home)
    return Path(shutil.copytree(home, desk.root / "diffusion"))


def _edit(change: Edit) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        home = desk.copy_model()
        description = json.loads((home / "model.json").read_bytes())
        change(home, description)
        return call("predict", home, desk.images / "ring")

    return run


def _write(home: Path, description: dict[str, object]) -> None:
    (home / "model.json").write_text(json.dumps(sign(description)))


def _infinite_version(home: Path, description: dict[str, object]) -> None:
    _write(home, {**description, "version": float("inf")})


def _deep(home: Path, _description: dict[str, object]) -> None:
    (home / "model.json").write_text("[" * 100_000)


def _text_for_number(home: Path, description: dict[str, object]) -> None:
    _write(home, {**description, "seed": "zero"})


def _unknown_kind(home: Path, description: dict[str, object]) -> None:
    _write(home, {**description, "parts": {"model": {"kind": "from tomorrow"}}})


def _nan_weights(home: Path, description: dict[str, object]) -> None:
    from safetensors.numpy import load, save

    arrays = load((home / "model.safetensors").read_bytes())
    arrays["model.weight"].reshape(-1)[3] = np.nan
    weights = save(arrays, {"format": "ilk"})
    (home / "model.safetensors").write_bytes(weights)
    entry = {"file": "model.safetensors", "sha256": hashlib.sha256(weights).hexdigest()}
    _write(home, {**description, "weights": entry})


def _foreign_encoder(home: Path, description: dict[str, object]) -> None:
    encoder = {"name": "hf-hub:someone/else", "key": "0" * 64, "precision": "float32"}
    _write(home, {**description, "encoder": encoder})


def _swapped_weights(home: Path, _description: dict[str, object]) -> None:
    path = home / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\x80?")


SITUATIONS = (
    Situation(
        SAFE,
        "another process writes to the model folder: ilk add MODEL NEW",
        _locked_folder,
        (4, 5),
        "another ilk process",
    ),
    Situation(SAFE, "files that a killed process left in the folder: ilk fit", _leftovers, (0,)),
    Situation(
        SAFE, "a PNG of 128,000,000 × 1 pixels: ilk check", _line(128_000_000, 1), (1,), "too large"
    ),
    Situation(
        SAFE, "a PNG of 1 × 128,000,000 pixels: ilk check", _line(1, 128_000_000), (1,), "too large"
    ),
    Situation(SAFE, "ilk check DIR --out DIR/ring/000.png", _out_is_an_image, (2, 5), "--out"),
    Situation(
        SAFE, "ilk predict MODEL DIR --out DIR/ring/000.csv, an image", _rows_over_an_image, (2, 5)
    ),
    Situation(
        SAFE, "ilk fit DIR --out DIR/model: a model inside its images", _model_inside_images, (2, 5)
    ),
    Situation(
        SAFE, "zeros in the rows of the feature store: predict", _damaged_store, (0,), "the same"
    ),
    Situation(
        SAFE,
        "a store that another process keeps locked: ilk predict",
        _locked_store,
        (5,),
        "another process",
        "free some space",
        is_slow=True,
    ),
    Situation(
        SAFE,
        "one bit of a diffusion model flipped: ilk draw",
        _flipped_diffusion,
        (4,),
        "altered",
        is_slow=True,
    ),
    Situation(
        SAFE,
        "a class of a diffusion model renamed: ilk draw",
        _renamed_diffusion,
        (4,),
        "altered",
        is_slow=True,
    ),
    Situation(MODELS, "weights of another model: ilk predict", _edit(_swapped_weights), (4,)),
    Situation(MODELS, '"version": Infinity in model.json', _edit(_infinite_version), (4,)),
    Situation(MODELS, "JSON of 100,000 levels as model.json", _edit(_deep), (4,)),
    Situation(MODELS, "a text as the seed, signed again", _edit(_text_for_number), (4,), "seed"),
    Situation(
        MODELS, "a part of an unknown kind, signed again", _edit(_unknown_kind), (4,), "kind"
    ),
    Situation(
        MODELS, "nan in the weights, with right digests", _edit(_nan_weights), (4,), "not finite"
    ),
    Situation(
        MODELS,
        "a model from elsewhere names a repository of the hub: ilk predict",
        _edit(_foreign_encoder),
        (3,),
        "--fetch",
    ),
)
