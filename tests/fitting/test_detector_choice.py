"""Which detector is chosen without a defect, and what it is chosen by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ilk.core.capabilities import Embeds
from ilk.core.contracts import DetectorTags
from ilk.core.data import Data
from ilk.core.errors import InputError, UnknownName
from ilk.core.progress import silent_progress
from ilk.detectors.gaussian_anomaly import GaussianAnomaly
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.fitting.detector import draw_images, fit_detector, show_whole_image
from ilk.fitting.detector_choice import Candidate, choose_detector, split_held_out
from ilk.fitting.synthetic_anomalies import KINDS, make_anomalies
from ilk.images import Images, read_images
from ilk.images.pixels import PixelEncoder
from ilk.store import Store


def draw_textures(n: int, side: int = 64, seed: int = 0) -> list[Image.Image]:
    """Stripes of one direction with noise."""
    rng = np.random.default_rng(seed)
    stripes = 120 + 60 * np.sin(np.arange(side) / 2)[None, :, None]
    return [
        Image.fromarray(
            np.clip(stripes + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)
        )
        for _ in range(n)
    ]


@dataclass(frozen=True, eq=False)
class ConstantModel:
    """A detector that sees nothing."""

    calibration_scores: np.ndarray
    calibration_votes: np.ndarray
    n_votes: int = 0

    def score(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(len(x))

    def compute_threshold(self, rate: float) -> float:
        return 0.0


@dataclass(frozen=True)
class Blind(DetectorTags):
    """Fits a `ConstantModel`."""

    def fit(self, data: Data) -> ConstantModel:
        return ConstantModel(np.zeros(len(data)), np.zeros(0))


def test_every_kind_changes_the_image_and_the_seed_decides_how() -> None:
    images = draw_textures(3)
    made, again, other = (make_anomalies(images, seed) for seed in (0, 0, 1))
    assert set(made) == set(KINDS)
    for kind, pictures in made.items():
        for i, picture in enumerate(pictures):
            assert picture.size == images[i].size
            assert picture.mode == "RGB"
            assert np.asarray(picture).tolist() == np.asarray(again[kind][i]).tolist()
        differs = [
            np.abs(np.asarray(p).astype(int) - np.asarray(i).astype(int)).max() > 5
            for p, i in zip(pictures, images, strict=True)
        ]
        assert all(differs), kind
        pairs = zip(pictures, other[kind], strict=True)
        assert any((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)
    for i, picture in enumerate(made["swap_parts"]):  # the same pixels in other places
        values = [np.sort(np.asarray(p).ravel()) for p in (picture, images[i])]
        np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (7, 5)])
def test_tiny_images_make_anomalies_too(size: tuple[int, int]) -> None:
    for pictures in make_anomalies([Image.new("RGB", size, (9, 90, 200))] * 2, 0).values():
        assert {p.size for p in pictures} == {size}


def test_whole_groups_are_held_out() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2, 2, -1, -1, -1, 3, 3])
    for seed in range(5):
        held = split_held_out(groups, seed)
        assert 0 < len(held) <= 4
        rest = np.setdiff1d(np.arange(12), held)
        assert not set(groups[held][groups[held] >= 0]) & set(groups[rest])


def read_and_encode(pictures: list[Image.Image], store: Store, encoder: Embeds) -> Images:
    images = read_images(pictures)
    encode_images(images, [encoder], store)
    return images


def test_the_detector_that_sees_anomalies_is_chosen(tmp_path: Path) -> None:
    store, encoder = Store(tmp_path / "store.sqlite"), PixelEncoder(16, 16, 3)
    images = read_and_encode(draw_textures(30), store, encoder)
    x = store.get(encoder.space, [row.digest for row in images.used])
    candidates = [Candidate(Blind(), encoder), Candidate(GaussianAnomaly(), encoder)]
    for order in (candidates, candidates[::-1]):
        best, areas = choose_detector(
            order, images, lambda _reader: x, np.full(30, -1), silent_progress, store
        )
        assert isinstance(best.method, GaussianAnomaly)
        assert set(areas["Blind()"].values()) == {0.5}
        assert np.mean(list(areas["GaussianAnomaly()"].values())) > 0.8
    few = draw_images(images, 9)
    best, areas = choose_detector(
        candidates, few, lambda _reader: x[:9], np.full(9, -1), silent_progress, store
    )
    assert (best, areas) == (candidates[0], {})


def test_patches_find_a_planted_defect_and_survive_saving(tmp_path: Path) -> None:
    from ilk.artifacts.detector import load

    store = Store(tmp_path / "store.sqlite")
    encoder = show_whole_image(
        resolve_encoder("efficientnet-lite0", runtime="torch"), "auto", lambda _line: None
    )
    assert encoder.name == "efficientnet-lite0@resize=squash"
    images = read_and_encode(draw_textures(15), store, encoder)
    lines: list[str] = []
    detector = fit_detector(images, encoder, store, false_alarm=0.1, log=lines.append)
    assert set(detector.choice) == {
        "GaussianAnomaly()",
        "NearestNeighbour()",
        "PatchMemory(height=14, width=14)",
    }
    assert "no real anomaly was seen" in lines[-1]
    patches = fit_detector(images, encoder, store, method="PatchMemory(fraction=0.2)")
    broken = draw_textures(1, seed=7)[0]
    broken.paste((250, 40, 40), (40, 8, 52, 20))
    pair = [draw_textures(1, seed=8)[0], broken]
    for held in (patches, _reload(patches, tmp_path / "kept", load)):
        good, bad = held.stream(pair, store, maps=True)
        assert bad.score > 1.3 * good.score
        assert bad.pixel_map is not None
        left, top, right, bottom = bad.pixel_map.find_region()
        assert left < 46 < right
        assert top < 14 < bottom
        assert (right - left) * (bottom - top) < 64 * 64 / 4
    assert next(iter(patches.stream(pair, store))).pixel_map is None


def _reload(detector, folder, load):  # type: ignore[no-untyped-def]
    detector.save(folder)
    again = load(folder, runtime="torch")
    assert again.method == detector.method == "PatchMemory(height=14, width=14, fraction=0.2)"
    return again


def test_requests_that_cannot_be_met_are_refused(tmp_path: Path) -> None:
    store, encoder = Store(tmp_path / "store.sqlite"), PixelEncoder(8, 8, 3)
    images = read_and_encode(draw_textures(6), store, encoder)
    with pytest.raises(InputError, match="pixels/8x8x3 has none to offer"):
        fit_detector(images, encoder, store, method="PatchMemory")
    with pytest.raises(UnknownName, match="PatchMemory"):
        fit_detector(images, encoder, store, method="PatchMemor")
    with pytest.raises(InputError, match="folds"):
        fit_detector(images, encoder, store, method="GaussianAnomaly(folds=1)")
    assert fit_detector(images, encoder, store).method == "GaussianAnomaly()"  # too few to choose
