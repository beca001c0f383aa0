"""A simulated clinic: patients, several near-identical pictures of each, and one label per patient.

A picture is a disc or a cross on a plain ground. Its place, size and colours belong to the patient,
and the shots of a patient differ by pixel noise. In the world without a signal the label is drawn
at random, so that nothing but the patient can be recognized; in the other, it agrees with the shape
in 80 % of the patients, which is the best accuracy there is on new ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE, NOISE = 32, 6  # pixels; largest change of a value between two shots
AGREEMENT = {"no signal": 0.5, "signal": 0.8}  # of label and shape
NAMES = ("well", "ill")


class Clinic(NamedTuple):
    """Pictures `[n, 32, 32, 3]` uint8, their labels and their patients."""

    images: list[NDArray[np.uint8]]
    labels: list[str]
    patients: list[str]


def draw_clinic(n_patients: int, n_shots: int, world: str, seed: int) -> Clinic:
    """Return the pictures of some patients; no two seeds share a patient."""
    rng = np.random.default_rng([seed, n_patients])
    clinic = Clinic([], [], [])
    for patient in range(n_patients):
        shape = int(rng.integers(2))
        ill = shape if rng.random() < AGREEMENT[world] else 1 - shape
        base = _draw_picture(shape, rng).astype(int)
        for _ in range(n_shots):
            noise = rng.integers(-NOISE, NOISE + 1, base.shape)
            clinic.images.append(np.clip(base + noise, 0, 255).astype(np.uint8))
            clinic.labels.append(NAMES[ill])
            clinic.patients.append(f"{seed}-{patient:03d}")
    return clinic


def _draw_picture(shape: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    ground, ink = (tuple(int(v) for v in rng.integers(*r, 3)) for r in ((160, 230), (0, 90)))
    image = Image.new("RGB", (SIDE, SIDE), ground)
    draw, s = ImageDraw.Draw(image), int(rng.integers(SIDE // 6, SIDE // 4))
    x, y = (int(v) for v in rng.integers(SIDE // 3, 2 * SIDE // 3, 2))
    if shape:
        draw.ellipse((x - s, y - s, x + s, y + s), fill=ink)
    else:
        draw.line((x - s, y - s, x + s, y + s), fill=ink, width=3)
        draw.line((x - s, y + s, x + s, y - s), fill=ink, width=3)
    return np.asarray(image)
