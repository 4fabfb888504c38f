"""The paired test compared with scipy's, Holm's correction with the textbook, and error rates by simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from autoloss.core.errors import ConfigError
from autoloss.report.verdict import compare, holm


def study(random, seeds=5, candidates=3, effect=0.0):
    """Scores of candidates and a baseline that share what the seed does to all of them."""
    shared = random.normal(size=seeds)
    scores = shared + effect + random.normal(size=(candidates, seeds))
    return {f"c{i}": list(row) for i, row in enumerate(scores)}, list(shared + random.normal(size=seeds))


@pytest.mark.parametrize("seeds", [2, 3, 5, 40])
def test_interval_and_p_are_scipys(seeds):
    candidates, baseline = study(np.random.default_rng(seeds), seeds, effect=0.7)
    for name, c in compare(candidates, baseline).items():
        expected = stats.ttest_rel(candidates[name], baseline)
        low, high = expected.confidence_interval(0.95)
        assert (c.low, c.high, c.p) == pytest.approx((low, high, expected.pvalue), rel=1e-9)
        assert c.difference == pytest.approx(np.mean(candidates[name]) - np.mean(baseline))
        assert (c.seeds, c.candidates) == (seeds, 3)


def rejected(p_values, alpha):
    """Holm's procedure as it is told: reject the smallest p below alpha / (hypotheses left), stop at the first not."""
    left, out = list(enumerate(p_values)), set()
    while left:
        index, p = min(left, key=lambda pair: pair[1])
        if p > alpha / len(left):
            break
        out.add(index)
        left.remove((index, p))
    return out


def test_holm_rejects_what_the_textbook_rejects():
    random = np.random.default_rng(0)
    for _ in range(100):
        p_values = list(np.round(random.uniform(size=random.integers(1, 7)) ** 2, 2))
        corrected = holm(p_values)
        for alpha in random.uniform(size=20):
            assert {i for i, p in enumerate(corrected) if p <= alpha} == rejected(p_values, alpha)
    assert (holm([]), holm([0.9, 0.6])) == ([], [1.0, 1.0])
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    with pytest.raises(ConfigError, match="must lie in"):
        holm([0.1, math.nan])


@pytest.mark.parametrize(("seeds", "candidates"), [(2, 1), (2, 3), (3, 3), (5, 1), (5, 3), (10, 20), (40, 3)])
def test_the_detectable_difference_is_found_in_four_studies_of_five(seeds, candidates):
    random = np.random.default_rng(seeds)
    names = {f"c{i}": list(random.normal(size=seeds)) for i in range(candidates)}
    found = compare(names, [0.0] * seeds)["c0"]
    truth = random.normal(found.detectable, np.std(names["c0"], ddof=1), size=(40_000, seeds))
    power = np.mean(stats.ttest_1samp(truth, 0.0, axis=1).pvalue < 0.05 / candidates)
    assert power == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / 40_000))
    # The noncentral t that scipy.stats has comes from other code; it ends in NaN for two seeds.
    error = np.std(names["c0"], ddof=1) / math.sqrt(seeds)
    critical = stats.t.ppf(1 - 0.025 / candidates, seeds - 1)
    assert stats.nct.sf(critical, seeds - 1, found.detectable / error) == pytest.approx(0.8, abs=1e-5)


def test_what_was_not_shown_is_smaller_than_what_could_have_been():
    random = np.random.default_rng(1)
    unshown = 0
    for _ in range(300):
        for c in compare(*study(random, seeds=int(random.integers(2, 8)), effect=1.0)).values():
            if c.words == "no difference shown":
                unshown += 1
                assert abs(c.difference) < c.detectable
    assert 100 < unshown < 850


def test_under_the_null_one_study_in_twenty_at_most_claims_anything():
    random = np.random.default_rng(2)
    studies, claims, uncorrected = 2000, 0, 0
    for _ in range(studies):
        found = compare(*study(random)).values()
        claims += any(c.words != "no difference shown" for c in found)
        uncorrected += any(c.p < 0.05 for c in found)
    noise = 3 * math.sqrt(0.05 * 0.95 / studies)
    assert 0.02 < claims / studies < 0.05 + noise
    assert uncorrected / studies > 0.05 + noise, "the control could not have failed"


def test_two_seeds_of_a_coarse_metric_that_agree_are_no_evidence():
    random = np.random.default_rng(3)
    studies, claims, agreed = 1000, 0, 0
    for _ in range(studies):
        right = random.binomial(10, 0.8, size=(2, 2)) / 10
        found = compare({"a": list(right[0])}, list(right[1]))["a"]
        claims += found.words != "no difference shown"
        agreed += math.isinf(found.detectable) and abs(found.difference) > 1e-9
    noise = 3 * math.sqrt(0.05 * 0.95 / studies)
    assert claims / studies < 0.05 + noise
    # To those the t-test itself gives p = 0: the null would have been rejected too often.
    assert (claims + agreed) / studies > 0.05 + noise


def test_folds_that_share_training_data_are_corrected_for_it():
    rng = np.random.default_rng(0)
    folds, studies, rho = 5, 1500, 0.2
    shared = rng.normal(size=(studies, 1)) * rho**0.5
    scores = shared + rng.normal(size=(studies, folds)) * (1 - rho) ** 0.5
    claims = {
        overlap: np.mean(
            [compare({"a": row}, [0.0] * folds, overlap)["a"].words != "no difference shown" for row in scores]
        )
        for overlap in (0.0, 1 / (folds - 1))
    }
    assert claims[0.0] > 0.10
    assert claims[1 / (folds - 1)] < 0.06


def test_a_difference_that_is_the_same_on_each_seed_but_for_rounding_counts_as_one_seed():
    """Scores have 12 decimals: one wrong answer fewer of 64 on each seed gives differences that differ in the last."""
    for before in itertools.product(range(2, 64, 3), repeat=2):
        mean = sum(before) / len(before)
        scores = [[round((mean - x + fewer) / mean, 12) for x in before] for fewer in (0, 1)]
        found = compare({"other": scores[1]}, scores[0])["other"]
        assert found.words == "no difference shown"
        assert found.p == 1
