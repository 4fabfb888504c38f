"""Terms that are split by a key, and metrics of groups: against the same numbers by hand."""

import pytest
import torch
from torch import nn

from autoloss.app.factories import grouped, losses_in
from autoloss.core.clock import Clock
from autoloss.core.component import Component
from autoloss.core.errors import AutolossError
from autoloss.core.grouped_problem import GroupedProblem
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.losses.cross_entropy import CrossEntropy
from autoloss.problems._tensors import TensorTable
from autoloss.problems.digits_vae_gan import DigitsVaeGan
from autoloss.problems.shortcut_digits import ShortcutDigits
from autoloss.training.step.build import build_loss, build_weighting
from autoloss.training.step.entries import table_of
from autoloss.training.step.player import Player


class Domains(Problem):
    """A classification with a mask, a penalty for each sample, and three domains, of which the last has few samples."""

    terms = {"task": "cross_entropy", "size": None}
    metrics = {"error": "min", "hits": "max"}
    groups = {"domain": ("photo", "sketch", "clip")}
    domains = torch.tensor([0, 0, 0, 1, 1, 2, 0, 1])

    def datasets(self, seed):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        table = TensorTable(x=x, y=(x.sum(1) > 0).long(), domain=self.domains)
        return {"train": table, "val": table}

    def network(self):
        torch.manual_seed(1)
        return nn.Linear(3, 2)

    def outputs(self, network, batch):
        logits = network(batch["x"])
        task = Term(logits, batch["y"], mask=torch.arange(len(logits)) != 1)
        return Outputs({"task": task, "size": logits.square().mean(1)}, keys={"domain": batch["domain"]})

    def measure(self, outputs):
        hit = (outputs.term("task").prediction.argmax(1) == outputs.term("task").target).float()
        return {"error": 1 - hit, "hits": hit}


def config(**losses):
    nodes = {name: {"name": "cross_entropy", **node} for name, node in losses.items()}
    return {"losses": nodes, "group_by": None}


def test_each_group_is_a_loss_and_their_counted_mean_is_the_whole():
    inner = Domains()
    problem = grouped(inner, config(task={"by": "domain"}))
    assert list(problem.terms) == ["task_photo", "task_sketch", "task_clip", "size"]
    network, batch = inner.network(), inner.datasets(0)["train"].columns
    losses = {name: CrossEntropy() for name in problem.terms if name != "size"}
    player = Player(list(problem.terms), build_weighting("equal"))
    found = table_of(problem.outputs(network, batch), losses, player, Clock(0)).reduced(player.terms.names)
    values = CrossEntropy()(network(batch["x"]), batch["y"]).detach()
    here = torch.arange(8) != 1
    for place in range(3):
        of = here & (inner.domains == place)
        assert found.values[place] == pytest.approx(values[of].mean().item())
        assert found.counts[place] == of.sum()
    share = found.counts[:3] / found.counts[:3].sum()
    assert (share * found.values[:3]).sum() == pytest.approx(values[here].mean().item())


def test_a_term_that_is_given_as_values_is_split_too():
    inner = Domains()
    problem = GroupedProblem(inner, "domain", inner.groups["domain"], ["size"])
    network, batch = inner.network(), inner.datasets(0)["train"].columns
    found = problem.outputs(network, batch).terms
    size = network(batch["x"]).square().mean(1)
    for place, name in enumerate(inner.groups["domain"]):
        total, count = found[f"size_{name}"].local()
        assert (total / count).item() == pytest.approx(size[inner.domains == place].mean().item())


def test_metrics_of_groups_and_the_worst():
    inner = Domains()
    problem = grouped(inner, {**config(task={}), "group_by": "domain"})
    assert problem.metrics == {"error": "min", "hits": "max", "error_worst": "min", "hits_worst": "max"}
    assert list(problem.terms) == list(inner.terms)
    network, batch = inner.network(), inner.datasets(0)["train"].columns
    halves = [{name: x[rows] for name, x in batch.items()} for rows in (slice(0, 3), slice(3, 8))]
    tallies = [problem.tally(problem.outputs(network, half)) for half in halves]
    found = problem.conclude({name: tallies[0][name] + tallies[1][name] for name in tallies[0]})
    error = inner.measure(inner.outputs(network, batch))["error"]
    means = [error[inner.domains == place].mean().item() for place in range(3)]
    for name, mean in zip(inner.groups["domain"], means, strict=True):
        assert found[f"error_{name}"] == pytest.approx(mean)
    assert found["error_worst"] == pytest.approx(max(means))
    assert found["hits_worst"] == pytest.approx(1 - max(means))


def test_a_problem_without_groups_is_left_as_it_is():
    inner = Domains()
    assert grouped(inner, config(task={})) is inner


def test_each_loss_of_a_split_term_has_the_node_of_the_term():
    problem = grouped(Domains(), given := config(task={"by": "domain", "label_smoothing": 0.1}))
    nodes = losses_in(given, problem)
    assert set(nodes) == {"task_photo", "task_sketch", "task_clip"}
    assert all(build_loss(node).label_smoothing == 0.1 for node in nodes.values())


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"task": {"by": "region"}}, "The groups of 'region' must have names"),
        ({"task": {"by": "domain", "groups": "ab"}}, "`groups` of a loss must be a list of names"),
        ({"task": {"by": "domain", "groups": ["a"]}}, "There must be at least two groups of 'domain'"),
        ({"task": {"by": "domain", "groups": ["a", "a", "b"]}}, "must have distinct names"),
        ({"tsk": {"by": "domain"}}, "No loss is called 'tsk'"),
        ({"task": {"by": "domain"}, "size": {"by": "region"}}, "Groups must be those of one key"),
    ],
)
def test_mistakes_are_sentences(losses, message):
    with pytest.raises(AutolossError) as caught:
        grouped(Domains(), config(**losses))
    assert message in str(caught.value)


def test_a_group_without_training_samples_is_an_error():
    names = ["photo", "sketch", "clip", "paint"]
    problem = GroupedProblem(Domains(), "domain", names, ["task"])
    with pytest.raises(AutolossError, match="'domain' must have training samples, but paint has none"):
        problem.datasets(0)
    with pytest.raises(AutolossError, match="numbered from 0 to 1 .* but a sample has 2"):
        GroupedProblem(Domains(), "domain", names[:2]).datasets(0)


def test_a_missing_key_a_fork_and_two_networks_are_errors():
    problem = GroupedProblem(Domains(), "domian", ["a", "b"], ["task"])
    network, batch = problem.network(), problem.datasets(0)["train"].columns
    with pytest.raises(AutolossError, match="No key of the data is called 'domian'. Did you mean 'domain'"):
        problem.outputs(network, batch)
    with pytest.raises(AutolossError, match="cannot meet in a fork"), problem.branching(lambda features: {}):
        pass
    with pytest.raises(AutolossError, match="with one network, but 'digits_vae_gan' has two"):
        GroupedProblem(DigitsVaeGan(), "label", ["a", "b"])


def test_what_a_problem_says_of_itself_is_said_of_it_in_groups_too():
    own = {"terms", "metrics", "judges", "groups", "recipe"}  # of the losses of groups; the last is read from the class
    said = {name: of for name, of in vars(Problem).items() if not (name.startswith("_") or callable(of) or name in own)}
    said = {name: of for name, of in said.items() if not isinstance(of, classmethod) and name not in vars(Component)}
    inner = Domains()
    for name, default in said.items():
        setattr(inner, name, not default if isinstance(default, bool) else f"another {name}")
    found = GroupedProblem(inner, "domain", inner.groups["domain"], ["task"])
    assert {"module", "predicts", "reads_files", "renewed"} <= set(said)
    assert {name: getattr(found, name) for name in said} == {name: getattr(inner, name) for name in said}
    inner.judges = {"task": "mae"}
    judges = GroupedProblem(inner, "domain", inner.groups["domain"], ["task"]).judges
    assert judges == {"task_photo": "mae", "task_sketch": "mae", "task_clip": "mae"}


def test_what_a_problem_does_it_does_in_groups_too():
    not_passed = {
        "branch",
        "restored",
        "title",
        "card",
    }  # `branching` reaches the problem inside; the others are of classes
    methods = {name for name, of in vars(Problem).items() if callable(of) and not name.startswith("_")} - not_passed
    assert methods - set(vars(GroupedProblem)) == set()


def test_other_names_of_groups_are_those_of_every_metric():
    problem = grouped(ShortcutDigits(), config(odd={"by": "group", "groups": ["a", "b", "c", "d"]}))
    batch = problem.datasets(0)["val"].columns
    found = problem.conclude(problem.tally(problem.outputs(problem.network(), batch)))
    assert set(found) == {"error_a", "error_b", "error_c", "error_d", "error_worst"}
    assert ShortcutDigits().groups == ShortcutDigits.groups
