"""The pages of a search and of a comparison, from the files that they leave."""

import json
import re

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import autoloss
from autoloss.core.space import Interval
from tests.report.pages import charts_of


def run(trial):
    import torch

    for _ in range(2):
        trial.balancer({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
    lr = trial.parameters["lr"]
    noise = (trial.seed % 7) / 1000
    return {"error": abs(lr - 0.1) + 0.1 + noise, "size": trial.balancer.weights["b"] + noise}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    place = tmp_path_factory.mktemp("search")
    goals = {"error": "min", "size": "min"}
    space = {"lr": Interval(0.01, 1.0, log=True)}
    options = {"weightings": ["fixed"], "n_trials": 12, "confirm_best": 2, "confirm_seeds": 3, "directory": place}
    autoloss.search(run, ["a", "b"], goals, space=space, sampler="random", says=lambda line: None, **options)
    return place


def test_a_search_shows_what_it_tried_and_how_sure_it_is(searched):
    html, charts = charts_of(searched)
    told = json.loads((searched / "search.json").read_text())
    assert len(told["trials"]) == 12
    assert {
        "Confirmed",
        "score by trial",
        "Trials",
        "Final weights",
        "error against size",
    } <= set(charts)
    assert "Verdict" in html
    rows = charts["Trials"]["rows"]
    scores = sorted(t["score"] for t in told["trials"])
    assert sorted(row["values"][-1] for row in rows) == pytest.approx(scores, rel=1e-4, abs=1e-9)
    assert "trials/0000-equal/report.html" in html
    assert (searched / "trials/0000-equal/report.html").exists()


def test_importance_is_of_what_makes_the_score_good(searched):
    told = json.loads((searched / "search.json").read_text())
    assert sum(told["importance"].values()) == pytest.approx(1, abs=1e-6)
    assert told["importance"]["lr"] > told["importance"]["weighting"]


def test_an_importance_is_shown_only_after_enough_trials(searched, tmp_path):
    told = json.loads((searched / "search.json").read_text())
    assert told["importance"]
    html, charts = charts_of(searched)
    assert "12 finished trials are too few to say which parameter matters most; it takes about 20." in html
    assert "Parameter importance" not in charts
    done = [t for t in told["trials"] if t["state"] == "complete"]
    many = told | {"trials": (done * 2)[:20], "importance": {"lr": 0.75, "weighting": 0.25}}
    (tmp_path / "search.json").write_text(json.dumps(many))
    html, charts = charts_of(tmp_path)
    assert [row["value"] for row in charts["Parameter importance"]["rows"]] == [0.75, 0.25]
    assert "<code>lr</code> matters most: it has 75% of the parameter importance (20 finished trials)." in html
    assert "too few" not in html


@pytest.mark.parametrize("number", [2, 3])
def test_a_front_has_a_best_compromise_from_three_points_on(searched, tmp_path, number):
    told = json.loads((searched / "search.json").read_text())
    spots = [(0.1, 2.0), (0.2, 1.0), (0.3, 3.0), (0.4, 0.9)][: number + 1]
    trials = [t | {"metrics": {"error": x, "size": y}} for t, (x, y) in zip(told["trials"], spots, strict=False)]
    (tmp_path / "search.json").write_text(json.dumps(told | {"trials": trials, "confirmed": [], "decision": None}))
    html, charts = charts_of(tmp_path)
    everyone = [p for group in charts["error against size"]["groups"] for p in group["points"]]
    assert sorted((p["x"], p["y"]) for p in everyone if p["faded"]) == [(0.3, 3)]
    assert [(p["x"], p["y"]) for p in everyone if p["ring"]] == ([(0.2, 1)] if number == 3 else [])
    assert ("the best compromise" in html) == (number == 3)


def test_equal_weights_are_a_level_line_among_the_trials(searched):
    _, charts = charts_of(searched)
    axes = [axis for axis in charts["Trials"]["axes"] if axis["name"].startswith("weight of")]
    assert len(axes) == 2
    assert axes[0]["ends"] == axes[1]["ends"]
    assert axes[0]["log"] == axes[1]["log"]
    places = [i for i, axis in enumerate(charts["Trials"]["axes"]) if axis in axes]
    equal, *_ = [row["values"] for row in charts["Trials"]["rows"] if row["values"][0] == "equal"]
    assert [equal[i] for i in places] == [1, 1]
    low, high = axes[0]["ends"]
    every = [row["values"][i] for row in charts["Trials"]["rows"] for i in places]
    assert (low, high) == (min(*every, 1), max(*every, 1))


def test_a_search_is_a_run_of_its_own_in_tensorboard(searched):
    events = EventAccumulator(str(searched / "study"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    best = [s.value for s in events.Scalars("search/best_score")]
    assert len(best) == 12
    assert best == sorted(best)
    for trial in json.loads((searched / "search.json").read_text())["trials"]:
        own = EventAccumulator(str(searched / trial["place"]), size_guidance={"scalars": 0}).Reload()
        assert [s.value for s in own.Scalars("score")] == [pytest.approx(trial["score"], rel=1e-6, abs=1e-9)]
    weights = [events.Scalars(f"search/weight/{name}") for name in ("a", "b")]
    assert [a.value + b.value for a, b in zip(*weights, strict=True)] == pytest.approx([2.0] * 12)


def test_the_verdict_comes_first_and_the_candidates_after_it_in_their_order(searched, tmp_path):
    told = json.loads((searched / "search.json").read_text())
    said = ["The first is better.", "The second is not.", "Verdict: the first."]
    (tmp_path / "search.json").write_text(json.dumps(told | {"verdict": said}))
    html, _ = charts_of(tmp_path)
    verdict, first, second = (html.index(sentence) for sentence in (said[2], said[0], said[1]))
    assert verdict < first < second


def test_a_search_that_was_killed_has_a_page(searched, tmp_path):
    told = json.loads((searched / "search.json").read_text())
    told |= {"confirmed": [], "verdict": [], "over": False, "trials": told["trials"][:2], "importance": {}}
    (tmp_path / "search.json").write_text(json.dumps(told))
    html, _ = charts_of(tmp_path)
    assert "The search is not finished" in html
    told["trials"] = []
    (tmp_path / "search.json").write_text(json.dumps(told))
    assert "No trial finished." in charts_of(tmp_path)[0]


def test_a_number_that_is_rounded_to_0_has_no_minus(searched, tmp_path):
    told = json.loads((searched / "search.json").read_text())
    tiny = {"score": -1e-9, "metrics": dict.fromkeys(told["goals"], -0.0), "final_weights": {"a": -0.0, "b": 2.0}}
    trials = [t | tiny | {"values": [-0.0 for _ in t["values"]]} for t in told["trials"]]
    confirmed = [c | {"test": [-1e-9, -2e-9], "validation": [-1e-9, -2e-9]} for c in told["confirmed"]]
    confirmed = [c | ({"low": -1e-9, "high": -1e-10} if "low" in c else {}) for c in confirmed]
    decision = told["decision"] | {"final_weights": {"a": -0.0, "b": 2.0}}
    changed = {"trials": trials, "confirmed": confirmed, "decision": decision, "verdict": ["Verdict."]}
    (tmp_path / "search.json").write_text(json.dumps(told | changed))
    html, _ = charts_of(tmp_path)
    shown = re.sub(r"<script.*?</script>|<style.*?</style>|data-key=\"[^\"]*\"", "", html, flags=re.DOTALL)
    assert re.findall(r"-0(?:\.0*)?(?![\d.e])", re.sub(r"\w-\d", "", shown)) == []
