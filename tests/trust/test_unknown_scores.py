"""Each score against the densities that define it."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from ilk.core.data import Data
from ilk.core.metrics import softmax
from ilk.maths.covariance import estimate_covariance
from ilk.maths.gaussian import compute_statistics
from ilk.methods.gda import GDA
from ilk.trust.known_rows import KnownRows
from ilk.trust.unknown_scores.energy import Energy
from ilk.trust.unknown_scores.max_probability import MaxProbability
from ilk.trust.unknown_scores.nearest_neighbor import NearestNeighbor
from ilk.trust.unknown_scores.relative_distance import RelativeDistance, merge_classes


def make_known(seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), [10, 30, 20])
    x = (3 * rng.standard_normal((3, 5))[y] + rng.standard_normal((60, 5))).astype(np.float32)
    return KnownRows.from_rows(x, y, 3), rng.standard_normal((40, 5)) * 4


def test_energy_is_the_log_density_of_the_mixture_against_one_gaussian():
    known, new = make_known()
    stats = known.statistics
    covariance = estimate_covariance(stats)
    joint = [
        np.log(stats.counts[c] / 60) + multivariate_normal(stats.means[c], covariance).logpdf(new)
        for c in range(3)
    ]
    background = multivariate_normal(stats.centre, covariance).logpdf(new)
    np.testing.assert_allclose(
        Energy().fit(known)(new), background - logsumexp(joint, axis=0), rtol=1e-5, atol=1e-5
    )


def test_maximum_probability_is_that_of_gaussian_discriminant_analysis():
    known, new = make_known()
    p = softmax(GDA().fit(Data(known.x, known.y, ("a", "b", "c"))).logits(new), axis=1)
    np.testing.assert_allclose(MaxProbability().fit(known)(new), -np.log(p.max(1)), atol=1e-3)


def test_relative_distance_is_a_difference_of_two_mahalanobis_distances():
    known, new = make_known()
    stats = known.statistics
    total = compute_statistics(known.x, np.zeros(60, np.int64), 1)
    np.testing.assert_allclose(merge_classes(stats).scatter, total.scatter, rtol=1e-4, atol=1e-4)

    def distance(mean, covariance):
        return np.einsum("nd,de,ne->n", new - mean, np.linalg.inv(covariance), new - mean)

    nearest = np.min([distance(m, estimate_covariance(stats)) for m in stats.means], axis=0)
    expected = nearest - distance(total.means[0], estimate_covariance(total))
    np.testing.assert_allclose(RelativeDistance().fit(known)(new), expected, rtol=1e-4, atol=1e-4)


def test_nearest_neighbour_is_half_the_squared_distance_of_unit_rows():
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    known, new = make_known()
    distance, _ = NearestNeighbors(n_neighbors=1).fit(normalize(known.x)).kneighbors(normalize(new))
    np.testing.assert_allclose(
        NearestNeighbor().fit(known)(new), distance[:, 0] ** 2 / 2, atol=1e-6
    )
