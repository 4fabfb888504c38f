"""A diffusion model of digits: what its losses are, which rules suit it, and what a run leaves."""

import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autoloss import Balancer, SampleWeighting, load
from autoloss.app.composition import composed
from autoloss.app.fleet_request import Request, train_alone
from autoloss.app.fleet_runs import FleetRuns
from autoloss.core.errors import ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.problems._denoising import cleaned, shares
from autoloss.problems._digits import part
from autoloss.problems.digits_diffusion import MEAN, SCALE, DigitsDiffusion
from tests.app.fleets import members, worth_it

__all__ = ["members", "worth_it"]  # fixtures
SMALL = ["problem=digits_diffusion", "problem.draws=1", "problem.width=8", "problem.steps=3", "trainer.max_epochs=1"]
RULES = ("min_snr", "edm", "p2", "sigmoid", "level_uncertainty")


def batch(problem, rows=12, split="train"):
    return problem.datasets(0)[split].__getitems__(range(rows))


class Guesses(torch.nn.Module):
    """A network that guesses the same x0, whatever it is asked to predict."""

    def __init__(self, target, guess):
        super().__init__()
        self.target, self.guess = target, guess
        self.head = torch.nn.Identity()

    def forward(self, seen, level, labels):
        alpha, sigma = shares(level[:, None])
        noise = (seen - alpha * self.guess) / sigma
        return {"x0": self.guess, "epsilon": noise, "v": alpha * noise - sigma * self.guess}[self.target]


@pytest.mark.parametrize("name", RULES[:-1])
def test_a_rule_gives_one_weighted_loss_whatever_the_network_predicts(name):
    found = {}
    guess = torch.randn(12, 64, generator=torch.Generator().manual_seed(0))
    for target in ("epsilon", "x0", "v"):
        problem = DigitsDiffusion(target=target, draws=1)
        outputs = problem.outputs(Guesses(target, guess), batch(problem))
        term = outputs.term("noise")
        rule = registry.build("sample_weighting", name)
        rule.suit(problem)
        balancer = Balancer(["noise"], "equal", sample_weighting=rule)
        losses = (term.prediction - term.target).square().mean(1)
        found[target] = balancer({"noise": losses}, keys=outputs.keys)
    torch.testing.assert_close(found["epsilon"], found["x0"], rtol=1e-3, atol=0)
    torch.testing.assert_close(found["v"], found["x0"], rtol=1e-3, atol=0)


def test_a_rule_that_is_told_another_target_is_refused_and_one_that_is_told_nothing_follows():
    v, silent = DigitsDiffusion(target="v", draws=1), registry.build("problem", "noisy_digits")
    rule = registry.build("sample_weighting", "edm", target="x0")
    with pytest.raises(ConfigError, match="'digits_diffusion' predicts v and the rule's target is x0"):
        rule.suit(v)
    rule.suit(silent)
    assert rule.target == "x0"
    for name in RULES[:-1]:
        registry.build("sample_weighting", name, target="v").suit(v)
        free = registry.build("sample_weighting", name)
        for target in ("v", "epsilon", "x0"):  # also one after the other
            free.suit(DigitsDiffusion(target=target, draws=1))
            assert free.target == target
    for other in ("uniform", "super_loss"):
        registry.build("sample_weighting", other).suit(v)


def test_the_module_asks_the_rule_too():
    from functools import partial

    from autoloss import MultiTaskModule, build

    problem = DigitsDiffusion(target="v", draws=1, width=8)
    parts = ({"noise": build("loss", "mse")}, build("weighting", "equal"), partial(torch.optim.Adam, lr=0.01))
    rule = registry.build("sample_weighting", "p2")
    MultiTaskModule(problem, *parts, sample_weighting=rule)
    assert rule.target == "v"


class TestData:
    def test_is_drawn_once_with_the_seed(self):
        problem = DigitsDiffusion(draws=2)
        one, same, other = (problem.datasets(seed)["train"].columns for seed in (0, 0, 1))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not torch.equal(one["noise"], other["noise"])
        assert not torch.equal(one["level"], other["level"])
        assert torch.equal(one["image"], other["image"])
        assert len(one["index"]) == 2000

    def test_has_the_size_that_edm_expects_and_normal_noise(self):
        columns = DigitsDiffusion(draws=10).datasets(0)["train"].columns
        assert columns["image"].std() == pytest.approx(0.5, abs=0.01)
        assert columns["image"].mean() == pytest.approx(0, abs=0.02)
        assert columns["noise"].std() == pytest.approx(1, abs=0.01)
        assert columns["level"].median() == pytest.approx(1, rel=0.05)  # of the cosine schedule

    def test_splits_folds_and_held_out_digits_have_no_digit_in_common(self):
        problem = DigitsDiffusion(draws=2)
        whole = problem.datasets(0)
        kept, held = problem.hold_out(whole["train"], 0.1, 0)
        assert len(held) == 200
        assert len(kept) == 1800
        assert torch.equal(held.columns["index"], torch.arange(200))
        for sets in (whole, {"train": kept, "held": held}, *problem.folds(3, 0)):
            rows = [{row.numpy().tobytes() for row in table.columns["image"]} for table in sets.values()]
            assert sum(map(len, rows)) == len(set.union(*rows))

    def test_a_rule_knows_the_level_of_each_sample(self):
        problem = DigitsDiffusion(draws=1, width=8)
        rows = batch(problem)
        outputs = problem.outputs(problem.network(), rows)
        assert torch.equal(outputs.keys["level"], rows["level"])
        assert torch.equal(outputs.index, rows["index"])
        assert not outputs.extra  # nothing is made of training data


class Knows(torch.nn.Module):
    """The best denoiser of the digits ``images`` of each class: their mean, weighted by how likely each is."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels, self.head = images, labels, torch.nn.Identity()

    def forward(self, seen, level, labels):
        alpha, sigma = shares(level[:, None])
        distance = (seen[:, None] - alpha[:, None] * self.images).square().sum(2) / (2 * sigma**2)
        distance = distance.masked_fill(labels[:, None] != self.labels, math.inf)
        return (-distance).softmax(1) @ self.images


def test_a_perfect_denoiser_makes_digits_and_one_that_knows_nothing_does_not():
    problem = DigitsDiffusion(target="x0", schedule="edm", draws=1, width=8, steps=8)
    rows = batch(problem, 120, "val")
    images, labels = part("train")
    perfect = Knows((images.flatten(1) - MEAN) / SCALE, labels)
    found = {}
    for name, network in {"perfect": perfect, "fresh": problem.network()}.items():
        with torch.no_grad():
            outputs = problem.outputs(network, rows)
        metrics = {of: float(values.mean()) for of, values in problem.measure(outputs).items()}
        found[name] = {**metrics, **problem.conclude(problem.tally(outputs))}
    assert found["perfect"]["class_error"] < 0.02
    assert found["perfect"]["frechet"] < 60
    assert found["fresh"]["frechet"] > 10 * found["perfect"]["frechet"]


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
@pytest.mark.parametrize("target", ["epsilon", "v"])
def test_all_targets_make_the_same_digits_from_the_same_guesses(target, sampler):
    images, labels = part("train")
    knows = Knows((images.flatten(1) - MEAN) / SCALE, labels)

    class Says(torch.nn.Module):
        head = torch.nn.Identity()

        def forward(self, seen, level, labels):
            guess = knows(seen, level, labels)
            return Guesses(target, guess)(seen, level, labels)

    noise, wanted = torch.randn(10, 64, generator=torch.Generator().manual_seed(0)), torch.arange(10)
    settings = {"schedule": "edm", "steps": 6, "sampler": sampler, "draws": 1}
    found, expected = (
        DigitsDiffusion(target=of, **settings).made(network, noise, wanted)
        for of, network in ((target, Says()), ("x0", knows))
    )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert cleaned("x0", noise, noise, torch.ones(())) is noise


@pytest.mark.parametrize("rule", ["uniform", *RULES])
@pytest.mark.parametrize("target", ["epsilon", "x0", "v"])
def test_every_rule_trains_with_every_target(rule, target, tmp_path):
    overrides = [*SMALL, f"problem.target={target}", f"sample_weighting={rule}", "trainer.limit_val_batches=1"]
    found = train_alone(Request(composed("train", overrides), tmp_path))
    assert found["metrics"]["frechet"] > 0
    assert 0 <= found["metrics"]["class_error"] <= 1


def test_a_run_leaves_pictures(autoloss, tmp_path):
    done = autoloss("train", *SMALL, "sample_weighting=min_snr", "test=true")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs/train").glob("*/001")
    assert (run / "samples.png").exists()
    assert "samples" in EventAccumulator(str(run)).Reload().Tags()["images"]
    assert "data:image/png" in (run / "report.html").read_text()
    assert "frechet" in (run / "metrics.csv").read_text()
    digits = load(run).predict([3, 1, 4])
    assert digits.shape == (3, 8, 8)
    assert 0 <= digits.min() < digits.max() <= 1


def test_members_of_a_fleet_equal_the_runs_alone(tmp_path, worth_it, members):
    rules = {"a": ["sample_weighting=min_snr"], "b": ["sample_weighting=min_snr", "seed=1"], "c": ["seed=2"]}
    requests = [Request(composed("train", [*SMALL, *of]), tmp_path / name, of, name) for name, of in rules.items()]
    said = []
    found = FleetRuns(says=said.append).train(requests)
    assert members == [3], said
    for of, one in zip(rules.values(), found, strict=True):
        alone = train_alone(Request(composed("train", [*SMALL, *of]), tmp_path / "alone" / "-".join(of), of))
        assert one["metrics"] == pytest.approx(alone["metrics"], rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("problem.target=eps",), "No target of a denoiser is called 'eps'. Did you mean 'epsilon'?"),
        (("problem.schedule=cosin",), "No schedule of noise levels is called 'cosin'. Did you mean 'cosine'?"),
        (("problem.sampler=huen",), "No sampler is called 'huen'. Did you mean 'heun'?"),
        (("problem.steps=1",), "`steps` must be at least 2, but steps=1"),
        (("problem.draws=0",), "`draws` must be at least 1, but draws=0"),
        (("sample_weighting=edm", "sample_weighting.target=v"), "predicts epsilon and the rule's target is v"),
        (("sample_weighting=p2", "sample_weighting.target=w"), "No target of a denoiser is called 'w'"),
        (("sample_weighting=p2", "sample_weighting.key=sigma"), "No key of the data is called 'sigma'. There are:"),
    ],
)
def test_bad_input_is_one_sentence(wrong, said, autoloss):
    done = autoloss("train", *SMALL, *wrong)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_problem_without_levels_says_which_keys_it_has(autoloss):
    done = autoloss("train", "problem=noisy_digits", "sample_weighting=min_snr", "trainer.max_epochs=1")
    assert done.returncode == 2
    assert "No key of the data is called 'level'. There are: corrupted." in done.stderr


def test_by_default_a_rule_suits_every_problem():
    class Plain(SampleWeighting):
        def forward(self, samples):
            return torch.ones_like(samples.losses)

    Plain().suit(DigitsDiffusion(draws=1))
