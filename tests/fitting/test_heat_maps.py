"""Heat maps in the report of a fit: which images, and that they are asked for."""

import numpy as np
import pytest

import ilk
from helpers.digit_folders import write_digits
from ilk.core.errors import InputError
from ilk.fitting.config import FitConfig
from ilk.fitting.heat_maps import choose_rows
from ilk.store import Store


def test_half_of_the_shown_images_are_wrong_ones_the_most_confident_first():
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9], [0.55, 0.45]])
    y = np.array([0, 1, 0, 1, 1, 0])
    assert choose_rows(p, y, 4)[:2] == [2, 1]
    assert set(choose_rows(p, y, 4)[2:]) <= {0, 3, 4, 5}
    assert choose_rows(p, y, 1)[0] in (0, 3, 4, 5)
    assert choose_rows(p, 1 - p.argmax(1), 3) == [0, 4, 2]


@pytest.mark.parametrize("n", [0, 2])
def test_the_report_shows_as_many_maps_as_asked_for(tmp_path, n):
    source = write_digits(tmp_path / "digits", {"0": 10, "1": 10, "8": 10})
    store = Store(tmp_path / "store.sqlite")
    classifier = ilk.fit(source, encoders="hog", methods="GDA", store=store, explain=n)
    page = (classifier.save(tmp_path / "model") / "report.html").read_text()
    assert page.count("rustworthy here: ") == 2 * n  # caption and description
    assert ("What supports the answers" in page) == bool(n)


def test_a_negative_number_is_refused():
    with pytest.raises(InputError, match="explain is -1"):
        FitConfig(explain=-1)
