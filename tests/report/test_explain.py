"""Each sentence follows from the columns, and is silent where it should be."""

import re

import numpy as np
import pytest

from autoloss.report import read
from autoloss.report.explain import about_number, findings, swings

T = 200
FLAT = np.ones(T)
RNG = np.random.default_rng(0)


def said(place):
    return " ".join(findings(read(place)))


def columns(weights, **more):
    table = {f"loss_weight/{name}": x for name, x in weights.items()}
    table |= {f"loss_raw/{name}": FLAT for name in weights}
    return table | {"loss/total": FLAT} | {tag.replace("__", "/"): x for tag, x in more.items()}


def test_a_scaled_loss_is_explained_by_its_gradient(run_directory):
    falling = np.concatenate([np.geomspace(1, 1 / 12, 100), np.full(100, 1 / 12)])
    norms = {"grad_norm__a": 9 * FLAT, "grad_norm__b": FLAT}
    place = run_directory(columns=columns({"a": falling, "b": 2 - falling}, **norms))
    when = int(np.argmax(np.log(falling) / np.log(1 / 12) >= 0.9))
    assert f"`a` was scaled down 12x by step {when} because its gradient norm was 9x that of the others." in said(place)


@pytest.mark.parametrize(
    ("norm", "words"), [(9.0, " because its"), (1.5, ", in part because its"), (0.5, " while its")]
)
def test_a_reason_is_as_large_as_what_it_explains(run_directory, norm, words):
    norms = {"grad_norm__a": norm * FLAT, "grad_norm__b": FLAT}
    place = run_directory(columns=columns({"a": np.geomspace(1, 1 / 14, T), "b": FLAT}, **norms))
    sentence = next(s for s in findings(read(place)) if s.startswith("`a`"))
    assert re.fullmatch(
        rf"`a` was scaled down 1\dx by step \d+{words} gradient norm was {norm:g}x that of .*", sentence
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_sentence_explains_a_change_by_a_norm_that_is_much_smaller(run_directory, seed):
    rng = np.random.default_rng(seed)
    ends, sizes = (np.exp(rng.normal(0, 2, 4)) for _ in range(2))
    weights = {name: np.geomspace(1, end, T) for name, end in zip("abcd", ends, strict=True)}
    norms = {f"grad_norm__{name}": size * FLAT for name, size in zip("abcd", sizes, strict=True)}
    place = run_directory(columns=columns(weights, **norms), losses=tuple("abcd"))
    for sentence in findings(read(place)):
        if " because " in sentence and "in part" not in sentence:
            factors = [float(x) for x in re.findall(r"([\d.e+-]+)x", sentence)]
            half = len(factors) // 2
            change, cause = ([abs(np.log(x)) for x in of] for of in (factors[:half], factors[half:]))
            assert max(cause) >= 0.45 * max(change)


def test_what_is_said_of_several_losses_is_one_sentence(run_directory):
    names = [f"t{i}" for i in range(40)]
    weights = {name: np.geomspace(1, 0.1, T) if i < 2 else FLAT for i, name in enumerate(names)}
    cosines = {f"grad_cosine__{a}__{b}": -0.5 * FLAT for a, b in (("t0", "t1"), ("t2", "t3"))}
    held = {f"val_loss/{name}": np.array([1, 0.5, 0.6, 0.7, 0.8]) for name in names[:3]}
    table = columns(weights, **cosines) | {f"loss_raw/{name}": np.linspace(1, 0.1, T) for name in names}
    place = run_directory(columns=table, curves=held, losses=tuple(names))
    sentences = findings(read(place))
    assert sentences[0].startswith("`t0` and `t1` were scaled down 9x by step ")
    assert sentences[1] == "`t2`, `t3`, `t4`, `t5`, `t6`, `t7` and 32 others kept their weight of 1."
    both = "`t2` and `t3` in 100% (-0.5) and `t0` and `t1` in 100% (-0.5)"
    assert f"2 pairs conflicted (cosine below 0): {both} of the measured steps (mean cosine)." in sentences
    words = "overfit: on validation data they were best after 2 of 5 validations and are 60% higher"
    assert any(sentence.startswith(f"`t0`, `t1` and `t2` {words}") for sentence in sentences)
    assert len(sentences) <= 6


def test_losses_that_went_the_same_way_are_explained_by_those_that_did_not(run_directory):
    norms = {"grad_norm__a": 20 * FLAT, "grad_norm__b": 20 * FLAT, "grad_norm__c": FLAT}
    weights = {"a": np.geomspace(1, 1 / 14, T), "b": np.geomspace(1, 1 / 14, T), "c": np.geomspace(1, 2.8, T)}
    sentences = findings(read(run_directory(columns=columns(weights, **norms), losses=tuple("abc"))))
    assert sentences[0].startswith("`a` and `b` were scaled down")
    assert sentences[0].endswith(" because their gradient norms were 20x those of the others.")
    assert sentences[1].endswith(" because its gradient norm was 0.05x that of the others.")


def test_a_weighting_that_saw_no_gradients_is_not_said_to_have_acted_on_them(run_directory):
    norms = {"grad_norm__a": 9 * FLAT, "grad_norm__b": FLAT}
    weights = {"a": np.geomspace(1, 0.1, T), "b": FLAT}
    assert "while its gradient norm was 9x" in said(run_directory(columns=columns(weights, **norms), measures=False))


def test_a_weighting_that_found_no_anchor_is_said_to_follow_values(run_directory):
    sentence = "There was no anchor to compare gradients at"
    weights = {"a": np.geomspace(1, 0.1, T), "b": FLAT}
    assert sentence in said(run_directory(columns=columns(weights), measures=True))


@pytest.mark.parametrize("measures", [True, False])
def test_one_that_found_an_anchor_or_looks_for_none_is_not(run_directory, measures):
    norms = {"grad_norm__a": 9 * FLAT, "grad_norm__b": FLAT} if measures else {}
    weights = {"a": np.geomspace(1, 0.1, T), "b": FLAT}
    assert "anchor" not in said(run_directory(columns=columns(weights, **norms), measures=measures))


def test_a_base_weight_is_no_scaling(run_directory):
    place = run_directory(columns=columns({"a": 0.1 * FLAT, "b": FLAT}), base={"a": 0.1, "b": 1.0})
    assert "`a` kept its weight of 0.1." in said(place)
    assert "The weights never changed." in said(place)


def test_a_weight_that_changes_little_is_said_to_stay(run_directory):
    weights = {"a": 1 + 0.1 * np.sin(np.arange(T)), "b": FLAT}
    expected = "`a` kept nearly the same weight: 0.985 at the end, always between 0.9 and 1.1."
    assert expected in said(run_directory(columns=columns(weights)))


@pytest.mark.parametrize(
    ("cosine", "words"),
    [(-0.02, ", but only weakly: the mean cosine is -0.02."), (-0.5, "; the mean cosine is -0.5.")],
)
def test_a_weak_conflict_is_told_from_a_strong_one(run_directory, cosine, words):
    place = run_directory(columns=columns({"a": FLAT, "b": FLAT}, grad_cosine__a__b=cosine * FLAT))
    assert f"`a` and `b` conflicted (cosine below 0) in 100% of the measured steps{words}" in said(place)


def test_conflicts_are_counted_over_measured_steps(run_directory):
    cosines = np.where(np.arange(T) % 100 < 34, -0.5, 0.5)
    cosines[::2] = np.nan
    known = cosines[np.isfinite(cosines)]
    place = run_directory(columns=columns({"a": FLAT, "b": FLAT}, grad_cosine__a__b=cosines))
    assert f"`a` and `b` conflicted (cosine below 0) in {(known < 0).mean():.0%} of the measured steps" in said(place)


def test_weights_that_stand_still_could_be_fixed(run_directory):
    late = np.concatenate([np.linspace(1, 2, 100), 2 + 0.02 * np.sin(np.arange(100))])
    place = run_directory(columns=columns({"a": late, "b": 3 - late}))
    assert "fixed weights would do as well (weights {a:2,b:" in said(place)
    moving = run_directory("moving", columns=columns({"a": np.linspace(1, 2, T), "b": FLAT}))
    assert "fixed weights" not in said(moving)


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (1 + 0.5 * np.sin(np.arange(T) / 4), True),
        (np.exp(-np.arange(T) / 50), False),
        (1 + 0.3 * RNG.standard_normal(T), False),
        (np.exp(-np.arange(T) / 50) * (1 + 0.1 * RNG.standard_normal(T)), False),
    ],
)
def test_an_oscillating_total_is_told_from_noise_and_from_progress(run_directory, total, expected):
    table = columns({"a": FLAT, "b": FLAT}) | {"loss/total": total}
    assert ("The total oscillates" in said(run_directory(columns=table))) == expected


def test_swings_count_turns_of_a_size():
    assert swings(np.array([0.0, 1.0, 0.0, 1.0, 0.0]), 0.5) == 3
    assert swings(np.array([0.0, 0.1, 0.0, 0.1, 1.0]), 0.5) == 0


def test_a_vanished_gradient_is_named(run_directory):
    norms = {"grad_norm__a": np.geomspace(1, 1e-6, T), "grad_norm__b": FLAT}
    assert "The gradient of `a` has vanished" in said(run_directory(columns=columns({"a": FLAT, "b": FLAT}, **norms)))


def test_overfitting_is_a_held_out_loss_that_rises_while_training_goes_on(run_directory):
    train = np.linspace(1, 0.1, T)
    table = columns({"a": FLAT, "b": FLAT}) | {"loss_raw/a": train, "loss_raw/b": train}
    held = {"val_loss/a": np.array([1, 0.5, 0.6, 0.7, 0.8]), "val_loss/b": np.array([1, 0.8, 0.6, 0.5, 0.4])}
    text = said(run_directory(columns=table, curves=held))
    assert "`a` overfits: on validation data it was best after 2 of 5 validations and is 60% higher" in text
    assert "`b` overfits" not in text


def test_each_loss_has_one_sentence_whatever_was_recorded(run_directory):
    broken = FLAT.copy()
    broken[50:60] = np.nan
    for name, weights in {
        "nan": {"a": broken, "b": FLAT},
        "absent": {"a": np.full(T, np.nan), "b": FLAT},
        "zero": {"a": np.zeros(T), "b": FLAT},
        "one": {"a": FLAT[:1], "b": FLAT[:1]},
    }.items():
        steps = len(weights["a"])
        table = {f"loss_weight/{n}": x for n, x in weights.items()} | {f"loss_raw/{n}": FLAT[:steps] for n in weights}
        sentences = findings(read(run_directory(name, columns=table | {"loss/total": FLAT[:steps]})))
        for loss in ("`a`", "`b`"):
            assert sum(loss in sentence.split(" ")[:4] for sentence in sentences) == 1, (name, sentences)


def test_a_group_is_explained_by_its_own_gradient(run_directory):
    weights = {"a": np.geomspace(1, 0.2, T), "b": np.geomspace(1, 0.2, T), "c": FLAT}
    norms = {"grad_norm__ab": 3 * FLAT, "grad_norm__c": FLAT}
    place = run_directory(columns=columns(weights, **norms), losses=("a", "b", "c"), groups={"ab": ["a", "b"]})
    assert "`a` and `b` were scaled down 4.6x" in said(place)
    assert "because their gradient norms were 3x those of the others." in said(place)


def test_a_learned_number_that_never_moved_is_not_said_to_have_risen_or_fallen():
    said = about_number("digit.margin", np.array([np.nan, 1.5, 1.5, 1.5]))
    assert said == "`digit.margin` was learned, and stayed at 1.5: no step showed what another number would change."
    assert "it rose from 1.5 to 2" in about_number("digit.margin", np.array([1.5, 1.8, 2.0]))
