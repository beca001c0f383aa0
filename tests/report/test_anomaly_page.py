"""The page of anomalies says what its colours refer to."""

from PIL import Image

from ilk.report.anomaly_page import AnomalyView, render_anomaly_page


def test_colours_refer_to_the_threshold_only_where_there_is_one() -> None:
    picture = Image.new("RGB", (8, 8))
    views = [AnomalyView("a.png", 2.0, False, picture, picture)]
    with_threshold = render_anomaly_page(views, 1, 0, "PatchMemory()")
    assert "an image at the threshold" in with_threshold
    without = render_anomaly_page(views, 1, None, "PatchMemory()")
    assert "at the threshold" not in without
    assert "the normal image with the highest score" in without
