"""What changes a verdict and what must not, its sentences, and its errors."""

import math
from dataclasses import astuple

import pytest

from autoloss.core.errors import ConfigError
from autoloss.report.verdict import compare, sentence

BASELINE = [0.50, 0.61, 0.48, 0.55, 0.53]
CANDIDATES = {
    "good": [0.66, 0.75, 0.63, 0.72, 0.67],
    "alike": [0.52, 0.60, 0.49, 0.53, 0.56],
    "bad": [0.41, 0.49, 0.40, 0.45, 0.46],
}


def numbers(comparisons):
    return {name: pytest.approx(astuple(c), rel=1e-6, abs=1e-9) for name, c in comparisons.items()}


def test_words():
    assert [c.words for c in compare(CANDIDATES, BASELINE).values()] == ["better", "no difference shown", "worse"]
    assert compare({}, BASELINE) == {}


def test_what_a_seed_does_to_all_and_the_order_of_anything_change_nothing():
    before = numbers(compare(CANDIDATES, BASELINE))
    luck = [3.0, -1.0, 0.5, 7.0, 2.0]
    shifted = {name: [x + s for x, s in zip(of, luck, strict=True)] for name, of in CANDIDATES.items()}
    after = compare(shifted, [x + s for x, s in zip(BASELINE, luck, strict=True)])
    assert {name: astuple(c) for name, c in after.items()} == before
    turned = {name: CANDIDATES[name][2:] + CANDIDATES[name][:2] for name in reversed(CANDIDATES)}
    assert {name: astuple(c) for name, c in compare(turned, BASELINE[2:] + BASELINE[:2]).items()} == before


@pytest.mark.parametrize("scale", [1e-9, 100.0, 1e9])
def test_another_unit_scales_differences_and_leaves_p(scale):
    before = compare(CANDIDATES, BASELINE)
    after = compare({n: [x * scale for x in of] for n, of in CANDIDATES.items()}, [x * scale for x in BASELINE])
    for c, was in zip(after.values(), before.values(), strict=True):
        assert (c.p, c.p_corrected, c.words) == (pytest.approx(was.p), pytest.approx(was.p_corrected), was.words)
        for field in ("difference", "low", "high", "detectable"):
            assert getattr(c, field) == pytest.approx(getattr(was, field) * scale)


def test_the_other_way_round_it_is_the_other_word():
    there = compare({"a": CANDIDATES["good"]}, BASELINE)["a"]
    back = compare({"a": BASELINE}, CANDIDATES["good"])["a"]
    assert (there.words, back.words) == ("better", "worse")
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert (back.p, back.detectable) == pytest.approx((there.p, there.detectable))


def test_more_candidates_ask_for_more():
    alone = compare({"good": CANDIDATES["good"]}, BASELINE)["good"]
    among = compare(CANDIDATES, BASELINE)["good"]
    assert (alone.p, alone.low, alone.high) == (among.p, among.low, among.high)
    assert alone.p_corrected == alone.p < among.p_corrected
    assert alone.detectable < among.detectable


@pytest.mark.parametrize("gain", [0.0, 0.1 / 3])
def test_without_a_deviation_seeds_show_no_more_than_one(gain):
    one = compare({"a": [0.5 + gain]}, [0.5])["a"]
    base = [0.1, 0.7, 0.3, 1.1, 0.9]
    many = compare({"a": [x + gain for x in base]}, base)["a"]
    assert gain == 0 or len({(x + gain) - x for x in base}) > 1, "the same but for rounding"
    for c in (one, many):
        assert (c.p, c.p_corrected, c.low, c.high, c.detectable) == (1, 1, -math.inf, math.inf, math.inf)
        assert c.difference == pytest.approx(gain)
        assert c.words == "no difference shown"
    assert sentence("a", one).endswith(f"shown: one seed is not enough (a compared with equal weights: {gain:+.3g}).")
    assert sentence("a", many).startswith(
        "no difference shown: all 5 seeds gave the same difference, which counts as one seed (a compared"
    )


def test_sentences():
    said = {name: sentence(name, c) for name, c in compare(CANDIDATES, BASELINE).items()}
    assert said["good"] == (
        "good is better than equal weights by +0.152 (95 % interval +0.136 to +0.168, p < 0.001 after Holm's correction "
        "for 3 candidates, 5 seeds)."
    )
    assert said["bad"].startswith("bad is worse than equal weights by -0.092 (95 % interval -0.11")
    assert said["alike"] == (
        "no difference shown: alike differs from equal weights by +0.006 (95 % interval -0.0197 to +0.0317, p = 0.553 "
        "after Holm's correction for 3 candidates, 5 seeds); 5 seeds find a true difference of 0.048 in 80 % of cases."
    )
    alone = sentence("alike", compare({"alike": CANDIDATES["alike"]}, BASELINE)["alike"], baseline="dwa")
    assert alone.startswith("no difference shown: alike differs from dwa by +0.006")
    assert "Holm" not in alone


def test_an_interval_that_excludes_zero_without_a_difference_shown_is_explained():
    near = {"near": [0.54, 0.63, 0.53, 0.57, 0.60]}
    assert compare(near, BASELINE)["near"].words == "better"
    among = compare({**near, "alike": CANDIDATES["alike"], "b": BASELINE, "c": BASELINE, "d": BASELINE}, BASELINE)[
        "near"
    ]
    assert among.low > 0
    assert among.words == "no difference shown"
    assert sentence("near", among).endswith(" The interval excludes 0, but it is not corrected.")


@pytest.mark.parametrize(
    ("candidates", "baseline", "says"),
    [
        ({"a": [1.0, 2.0]}, [1.0, 2.0, 3.0], r"must have the baseline's seeds \(3\), but some have others: {'a': 2}"),
        ({"a": [1.0, math.nan]}, [1.0, 2.0], "'a' has nan on seed 2. Leave out"),
        ({"a": [1.0], "b": [-math.inf]}, [math.nan], "the baseline has nan on seed 1, 'b' has -inf on seed 1"),
        ({}, [], "at least one seed"),
    ],
)
def test_mistakes(candidates, baseline, says):
    with pytest.raises(ConfigError, match=says):
        compare(candidates, baseline)
