"""The baselines of the benchmark compute what ilk computes, and its memory counts the features."""

import numpy as np

from benchmarks.fit_cost import before
from benchmarks.fit_cost.run import _choose_ridge, measure_large
from benchmarks.fit_cost.worlds import make_features
from ilk.methods.gda import GDA
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.ridge import ALPHAS
from ilk.trust.out_of_distribution import fit_gaussian


def test_the_plain_ways_give_the_same_results():
    data = make_features(90, 140, 3)
    train, x = data.take(np.arange(70)), data.x[70:]
    scores = fit_gaussian(train).score(x)
    np.testing.assert_allclose(before.score_unknown(train, x), scores, rtol=1e-5)
    centre = lambda z: z - z.mean(1, keepdims=True)  # noqa: E731
    want = centre(before.fit_gda(train).logits(x))
    np.testing.assert_allclose(centre(GDA().fit(train).logits(x)), want, atol=1e-5 * want.std())
    assert before.choose_ridge(train, ALPHAS) == np.float64(_choose_ridge(train))
    t = NearestClassMean().fit(train).inverse_temperature
    np.testing.assert_allclose(before.fit_nearest_mean(train), t, rtol=1e-5)


def test_the_peak_includes_the_features():
    result = measure_large(4000, 64, 4)
    assert result["features_megabytes"] == 1.0
    assert result["peak_over_features"] > 1
    assert "GDA()" in result["methods"]
