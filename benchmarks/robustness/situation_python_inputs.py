"""Situations of what is passed to Python functions."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.commands import Outcome
from benchmarks.robustness.inputs import draw_picture
from benchmarks.robustness.situations import Desk, Situation, answer

PYTHON = "Python inputs"
NAMES = "ring|stripe|dots"


def _predict(make: Callable[[Desk], Any]) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        import ilk
        from ilk.core.errors import IlkError

        try:
            result = ilk.load(desk.model).predict(make(desk))
        except IlkError as error:
            return answer(error, error.exit_code)
        predictions = result if isinstance(result, list) else [result]
        return answer(", ".join(p.name or p.error for p in predictions[:4]))

    return run


def _fit(make: Callable[[Desk], Any]) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        import ilk
        from ilk.core.errors import IlkError

        try:
            model = ilk.fit(make(desk), encoders="pixels/8x8x3", methods="GDA")
        except IlkError as error:
            return answer(error, error.exit_code)
        return answer(f"classes {', '.join(model.classes)}")

    return run


def _letters(_desk: Desk) -> Outcome:
    from ilk.core.errors import IlkError
    from ilk.fitting.config import FitConfig

    try:
        return answer(f"methods: {FitConfig(methods='GDA').methods}")  # type: ignore[arg-type]
    except (IlkError, TypeError) as error:
        return answer(error, getattr(error, "exit_code", 1))


def _first(desk: Desk) -> Path:
    return desk.images / "ring" / "000.png"


def _table(desk: Desk) -> Any:
    pd: Any = import_module("pandas")  # not needed by ilk, so it may be missing

    paths = sorted(map(str, desk.images.glob("*/00[01].png")))
    return pd.DataFrame({"path": paths, "label": [Path(p).parent.name for p in paths]})


def _read(desk: Desk) -> Any:
    import ilk

    return ilk.read(desk.images)


PIXELS = np.asarray(draw_picture("ring", 5))

SITUATIONS = (
    Situation(PYTHON, "predict of a path", _predict(_first), (0,), NAMES),
    Situation(
        PYTHON,
        "predict of the bytes of a file",
        _predict(lambda d: _first(d).read_bytes()),
        (0,),
        NAMES,
    ),
    Situation(
        PYTHON,
        "predict of BytesIO",
        _predict(lambda d: BytesIO(_first(d).read_bytes())),
        (0,),
        NAMES,
    ),
    Situation(
        PYTHON, "predict of an open file", _predict(lambda d: _first(d).open("rb")), (0,), NAMES
    ),
    Situation(
        PYTHON,
        "predict of a Pillow image",
        _predict(lambda _d: draw_picture("ring", 5)),
        (0,),
        NAMES,
    ),
    Situation(PYTHON, "predict of an array [h, w, c]", _predict(lambda _d: PIXELS), (0,), NAMES),
    Situation(
        PYTHON, "predict of an array [n, h, w, c]", _predict(lambda _d: PIXELS[None]), (0,), NAMES
    ),
    Situation(PYTHON, "predict of floats", _predict(lambda _d: PIXELS / 255), (2,), "uint8"),
    Situation(PYTHON, "predict of a DataFrame", _predict(_table), (0,), NAMES, "path, label"),
    Situation(PYTHON, "predict of what ilk.read returned", _predict(_read), (0,), NAMES),
    Situation(PYTHON, "predict of a number", _predict(lambda _d: 7), (2,), "image"),
    Situation(PYTHON, "predict of None", _predict(lambda _d: None), (2,), "image"),
    Situation(PYTHON, "predict of an empty list", _predict(lambda _d: []), (0, 2)),
    Situation(PYTHON, "ilk.fit of a folder", _fit(lambda d: d.images), (0,), NAMES),
    Situation(
        PYTHON, "ilk.fit of the text of a folder", _fit(lambda d: f"{d.images}/"), (0,), NAMES
    ),
    Situation(PYTHON, "ilk.fit of a DataFrame", _fit(_table), (0,), NAMES),
    Situation(PYTHON, 'FitConfig(methods="GDA")', _letters, (0, 2), "GDA", "'G', 'D'"),
)
