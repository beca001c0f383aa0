"""Pages of a file are a group that nobody gave: other dependent images are still looked for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.patients import write_patients
from ilk.fitting.config import FitConfig
from ilk.fitting.fit import fit_with_report
from ilk.images import read_images
from ilk.images.decoding.pages import is_page_group
from ilk.report import list_pictured_files
from ilk.store import Store


def test_a_file_with_pages_does_not_end_the_search_for_clusters(tmp_path: Path) -> None:
    table = write_patients(tmp_path / "d", n_patients=14, n_shots=6)
    rng = np.random.default_rng(3)
    pages = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(4)]
    pages[0].save(tmp_path / "d" / "scan.tif", save_all=True, append_images=pages[1:])
    with table.open("a") as lines:
        lines.write("scan.tif,well,p999\n")
    store = Store(tmp_path / "store.sqlite")
    config = FitConfig(encoders=("pixels/8x8x3",), methods=("GDA",))
    images = read_images(table, pages="all", store=store)
    assert [is_page_group(row) for row in images.rows[-4:]] == [True] * 4
    _, report = fit_with_report(images, config, store=store)
    found = report.held_together
    assert found is not None
    assert found.n_clusters >= 13
    assert found.accuracy.value < found.plain.value
    given = read_images(table, pages="all", group_column="patient", store=store)
    assert not any(is_page_group(row) for row in given.rows)
    _, report = fit_with_report(given, config, store=store)
    assert report.held_together is None
    assert report.scores.accuracy.value == pytest.approx(found.accuracy.value, abs=0.25)
    store.close()


def test_the_report_shows_pages_of_files_that_are_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    files, labels = [], []
    for i in range(12):  # of one kind under two labels, so that there are mistakes to show
        pages = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(2)]
        content = io.BytesIO()
        pages[0].save(content, "TIFF", save_all=True, append_images=pages[1:])
        files.append(content.getvalue())
        labels.append("ab"[i % 2])
    store = Store(tmp_path / "store.sqlite")
    images = read_images(files, labels=labels, pages="all", store=store)
    config = FitConfig(encoders=("pixels/8x8x3",), methods=("GDA",))
    classifier, report = fit_with_report(images, config, store=store)
    shown = list_pictured_files(report)
    assert len(shown) >= 2
    assert all(path.name.endswith(("[1]", "[2]")) for path in shown)
    page = (classifier.save(tmp_path / "m") / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == len(shown)
    store.close()
