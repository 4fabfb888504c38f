"""The mistakes that the plugin pages list, made: each is answered with what its page says."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autoloss import (
    Balancer,
    Loss,
    ModuleBuilder,
    Need,
    Outputs,
    Penalty,
    Problem,
    SampleNeed,
    SampleWeighting,
    Term,
    Weighting,
    Wrapper,
)
from autoloss.app.composition import composed
from autoloss.app.hydra_app import split
from autoloss.app.prepare import prepare
from autoloss.core.clock import Clock
from autoloss.core.loss import per_sample
from autoloss.core.penalty import at_least_float32
from autoloss.core.problem import Verdict
from autoloss.core.registry.lookup import Registry, registry
from autoloss.core.schedules.progressive import build
from autoloss.losses.mse import Mse
from autoloss.testing import LossSuite, ModuleSuite, PenaltySuite, SampleWeightingSuite, WeightingSuite
from autoloss.testing.batches import batches
from autoloss.training.lightning.gan.player import GENERATOR, GanPlayer, PlayerOptions
from autoloss.training.lightning.gan.player_table import player_table
from autoloss.training.lightning.modules.multitask import Multitask
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.training.step.build import build_weighting
from autoloss.training.step.penalties import Penalties

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"\A(?:# @.*\n)?# src/([\w/.]+\.\w+)$", re.MULTILINE)
SUITES = {"loss": LossSuite, "penalty": PenaltySuite, "weighting": WeightingSuite}
SUITES["sample_weighting"] = SampleWeightingSuite  # type: ignore[assignment]
OTHER = """
from autoloss import Loss


class Needy(Loss):
    def __init__(self, eps):
        super().__init__()

    def forward(self, prediction, target):
        return prediction


def twin(prediction, target):
    return prediction
"""
EXPERIMENTS = {
    "mistyped": "# @package _global_\ndefaults:\n  - override /weighting: my_unit_norm\nweighting:\n  decya: 0.5\n",
    "missing": "# @package _global_\ndefaults:\n  - override /weighting: my_unit_nrom\n",
    "unplaced": "weighting:\n  decay: 0.5\n",
}
X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages' package, as an installer would leave it, and two more that are not as they should be."""
    site = tmp_path / "site"
    pages = [DOCS / "plugins.md", *sorted((DOCS / "plugins").glob("*.md"))]
    blocks = [block for page in pages for block in BLOCK.findall(page.read_text())]
    files = {named[1]: text for _, text in blocks if (named := FILE.search(text))}
    files |= {f"my_methods/conf/experiment/{name}.yaml": text for name, text in EXPERIMENTS.items()}
    files |= {"my_broken.py": "import nowhere\n", "my_other.py": OTHER, "my_methods/__init__.py": ""}
    toml = next(text for language, text in blocks if language == "toml")
    ours = re.sub(r'^\[project\.entry-points\."(.*)"\]$', r"[\1]", toml, flags=re.MULTILINE).replace('"', "")
    points = {
        "my_methods": ours[ours.index("[autoloss.losses]") : ours.index("[tool.")],
        "my_broken": "[autoloss.losses]\nmy_broken = my_broken:Loss\nmy_twin = my_other:twin\n",
        "my_other": "[autoloss.losses]\nmy_twin = my_other:twin\nmy_needy = my_other:Needy\n"
        "[autoloss.weightings]\nmy_misplaced = my_other:twin\n",
    }
    for name, text in points.items():
        files[f"{name}-1.0.dist-info/entry_points.txt"] = text
        files[f"{name}-1.0.dist-info/METADATA"] = (
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        )
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delenv("AUTOLOSS_DISABLE_PLUGINS", raising=False)
    monkeypatch.setitem(registry.__dict__, "listings", Registry().listings)
    monkeypatch.setitem(sys.modules, "mistakes", sys.modules[__name__])
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_methods", "my_other")]:
        monkeypatch.delitem(sys.modules, name)


def suite(kind: str, check_name: str, made: Callable[[], Any]) -> Callable[[], object]:
    """One check of the suite of ``kind``, of what ``made`` makes."""
    return lambda: getattr(type("Suite", (SUITES[kind],), {kind: staticmethod(made)})(), f"test_{check_name}")()


def module_suite(check_name: str, made: Callable[[], ModuleBuilder]) -> Callable[[], object]:
    """One check of the suite of modules, of what ``made`` makes, with the pages' problems."""

    def check() -> object:
        pages = import_module("my_methods.two_curves"), import_module("my_methods.ring")
        problems = {"problem": lambda self: pages[0].TwoCurves(), "wrong_problem": lambda self: pages[1].Ring()}
        tested = type("Suite", (ModuleSuite,), {"builder": staticmethod(made), **problems})()
        test = getattr(tested, f"test_{check_name}")
        with TemporaryDirectory() as place:
            return test(Path(place)) if "tmp_path" in signature(test).parameters else test()

    return check


def asked(*arguments: str) -> Callable[[], object]:
    """What ``autoloss train`` looks at before it trains."""

    def ask() -> None:
        flags, overrides = split(arguments)
        prepare(composed("train", overrides))

    return ask


class Registered(MultiTaskModule):
    """A module where its builder should be."""


class Lenient(Multitask):
    """Takes any problem."""

    def check(self, run: Any, attempt: Any) -> None:
        pass


class Forgetful(Multitask):
    """Its module loads nothing of a checkpoint."""

    def build(self, run: Any) -> Any:
        module = super().build(run)
        module.on_load_checkpoint = lambda checkpoint: checkpoint["state_dict"].update(module.state_dict())  # type: ignore[method-assign]
        return module


class Idle(Multitask):
    """Its optimiser moves nothing."""

    def build(self, run: Any) -> Any:
        module = super().build(run)
        module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), lr=0.0)  # type: ignore[method-assign]
        return module


class Renamed(Loss):
    """Keeps a parameter under another name."""

    def __init__(self, eps: float = 0.1) -> None:
        super().__init__()
        self.epsilon = eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_sample((prediction - target).abs() + self.epsilon)


def plain(prediction: Tensor, target: Tensor) -> Tensor:
    return per_sample((prediction - target).abs())


def reduces(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().mean()


def compares_with_the_others(prediction: Tensor, target: Tensor) -> Tensor:
    return per_sample((prediction - prediction.mean(0) - target).square())


class MasksAfterwards(Loss):
    """Puts 0 where the loss has been computed already."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_sample((prediction - target).square())

    def masked(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        values = self(prediction, target)
        return values if mask is None else values.where(mask, 0.0)


def takes_logarithms(prediction: Tensor, target: Tensor) -> Tensor:
    return per_sample(-(1 - prediction.sigmoid()).log() + 0 * target)


def looks(prediction: Tensor, target: Tensor) -> Tensor:
    return plain(prediction, target) * (2 if target.max() > 1 else 1)


def takes_three(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return prediction


def penalty_of(function: Callable[[list[Tensor]], Tensor]) -> Callable[[], Penalty]:
    class Given(Penalty):
        def forward(self, parameters: Any) -> Tensor:
            return function(parameters)

    return Given


def norms(parameters: Any) -> Tensor:
    return torch.stack([p.square().sum() for p in at_least_float32(parameters)])


def writes(parameters: Any) -> Tensor:
    if not any(p.requires_grad for p in parameters):
        parameters[0].clamp_(max=0.1)
    return norms(parameters).sum()


def network() -> nn.Module:
    return nn.ModuleDict({"trunk": nn.Linear(4, 3), "norm": nn.LayerNorm(3)})


class Given(Weighting):
    """Weights of ones, and whatever else a test gives it."""

    def forward(self, signals: Any) -> Tensor:
        return torch.ones_like(signals.values)


class Steep(Given):
    """Reads what it does not ask for."""

    def forward(self, signals: Any) -> Tensor:
        return signals.gram.diagonal()


class Ahead(Given):
    """Reads in forward what is known to update alone."""

    needs = Need.VALUES | Need.LOOKAHEAD

    def forward(self, signals: Any) -> Tensor:
        return signals.after


class Logarithms(Given):
    """Needs positive losses."""

    positive = True


class WithParameter(Given):
    """Keeps its state where an optimiser takes it."""

    def allocate(self, size: int) -> None:
        self.norm = nn.Parameter(torch.ones(size))


class WithAttribute(Given):
    """Keeps its state where no checkpoint finds it."""

    def allocate(self, size: int) -> None:
        self.mean = torch.ones(size)

    def forward(self, signals: Any) -> Tensor:
        return self.mean

    def update(self, signals: Any) -> None:
        self.mean = 0.5 * (self.mean + signals.values)


class WithoutAxes(Given):
    """Does not say that its state's rows are losses."""

    def allocate(self, size: int) -> None:
        self.add_state("norm", torch.ones(size))

    def update(self, signals: Any) -> None:
        self.norm.copy_(0.5 * (self.norm + signals.values))


class Writing(WithoutAxes):
    """Learns in forward."""

    def forward(self, signals: Any) -> Tensor:
        self.update(signals)
        return torch.ones_like(signals.values)


class OfAll(Given):
    """Takes the mean over losses that are not there, too."""

    def forward(self, signals: Any) -> Tensor:
        return signals.values / signals.values.mean()


class Looking(Given):
    """Waits for the device."""

    def forward(self, signals: Any) -> Tensor:
        return torch.full_like(signals.values, signals.values[0].item())


class Claiming(Given):
    """Claims what it does not do."""

    claims = frozenset({"sums_to_count"})

    def forward(self, signals: Any) -> Tensor:
        return 2 * torch.ones_like(signals.values)


def balanced(weighting: Any, losses: Mapping[str, Any] | None = None, anchor: Any = None, **more: Any) -> object:
    features = X.clone().requires_grad_()
    losses = losses or {"a": features.square().mean(1), "b": features.abs().mean(1)}
    return Balancer(list(losses), weighting, **more)(losses, anchor=anchor)


class Bare(Wrapper):
    """Says what it needs where nobody looks."""

    needs = Need.GRAM

    def forward(self, signals: Any) -> Tensor:
        return signals.gram.diagonal() + self.inner(signals)


class Innerless(Wrapper):
    """Forgets the inner weighting."""

    def __init__(self, inner: Weighting) -> None:
        super().__init__()  # type: ignore[call-arg]

    def forward(self, signals: Any) -> Tensor:
        return self.inner(signals)


class Unlearning(Wrapper):
    """Does not pass on what is learned."""

    def forward(self, signals: Any) -> Tensor:
        return self.inner(signals)

    def update(self, signals: Any) -> None:
        pass


def never_learns() -> None:
    inner = registry.build("weighting", "my_unit_norm")
    features = X.clone().requires_grad_()
    balanced(Unlearning(inner), {"a": features.square().mean(1), "b": features.abs().mean(1)}, anchor=features)
    assert inner.norm.isnan().all()


def sharpened_surgery() -> object:
    sharpen = registry.load("wrapper", "my_sharpen")
    return balanced(sharpen(build_weighting("graddrop")))


class Same(SampleWeighting):
    """Weights of ones."""

    def forward(self, samples: Any) -> Tensor:
        return torch.ones_like(samples.losses)


class Labelling(Same):
    """Reads what it does not ask for."""

    def forward(self, samples: Any) -> Tensor:
        return samples.labels.float()


class Remembering(Same):
    """Keeps a number for each sample."""

    needs = SampleNeed.LOSSES | SampleNeed.INDEX


class Classes(Same):
    """Wants classes."""

    needs = SampleNeed.LOSSES | SampleNeed.LABELS


class Keyed(Same):
    """Wants a key that is misspelt."""

    def forward(self, samples: Any) -> Tensor:
        return samples.key("wieght")


class OfAllSamples(Same):
    """Takes the mean over masked samples, too."""

    def forward(self, samples: Any) -> Tensor:
        return (samples.losses.mean() / samples.losses.clamp(min=1e-6)).clamp(0, 1)


class Negative(Same):
    """Gives weights below 0."""

    def forward(self, samples: Any) -> Tensor:
        return -torch.ones_like(samples.losses)


class Nothing(Same):
    """Gives no sample any weight."""

    def forward(self, samples: Any) -> Tensor:
        return torch.zeros_like(samples.losses)


def sampled(rule: SampleWeighting, losses: Any = None, index: Any = None, **more: Any) -> object:
    values = torch.ones(4, requires_grad=True)
    balancer = Balancer(["a"], "equal", sample_weighting=rule, **more)
    return balancer({"a": values} if losses is None else losses, index=index)


def of_one_term() -> object:
    return sampled({"name": "my_winsor", "terms": ["a"]}, {"a": torch.ones((), requires_grad=True)})  # type: ignore[arg-type]


class Curves(Problem):
    """What the problem of the page is, in short."""

    terms: Mapping[str, str | None] = {"sine": "mse", "cosine": "mse"}
    metrics = {"error": "min"}

    def __init__(self, given: Callable[[Tensor], Outputs] | None = None) -> None:
        self.given = given

    def datasets(self, seed: int) -> Any:
        raise NotImplementedError

    def network(self) -> nn.Module:
        return nn.Linear(4, 2)

    def outputs(self, network: nn.Module, batch: Any) -> Outputs:
        assert self.given is not None
        return self.given(network(batch))

    def measure(self, outputs: Outputs) -> Any:
        return {}


class Unbranched(Curves):
    """Computes its terms from the features themselves."""


class Unfinished(Problem):
    """Has no methods."""


def terms(features: Tensor, **more: Any) -> Outputs:
    pair = {name: Term(x, torch.zeros_like(x)) for name, x in zip(("sine", "cosine"), features.unbind(1), strict=True)}
    return Outputs({**pair, **more})


def trained(problem: Problem, losses: Mapping[str, Loss], weighting: Any = "equal", **more: Any) -> None:
    """One step of a training."""
    module = MultiTaskModule(problem, losses, build_weighting(weighting), partial(torch.optim.SGD, lr=0.1), **more)
    flags = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **flags)
    trainer.fit(module, DataLoader(X, 8), DataLoader(X, 8))


def played(name: str, term: Any, loss: Loss) -> object:
    """The table of a generator's losses."""
    options = PlayerOptions({name: loss}, build_weighting("equal"), partial(torch.optim.SGD, lr=0.1))
    return player_table(GanPlayer(GENERATOR, [name], options), Outputs({name: term}), Clock(0, 0, 0.0), 8)


def means_its_metrics() -> None:
    class Meaning(Curves):
        """Takes the mean of a metric itself."""

        def measure(self, outputs: Outputs) -> Any:
            return {"error": outputs.term("sine").prediction.abs().mean()}

    problem = Meaning(terms)
    module = MultiTaskModule(problem, BOTH, build_weighting("equal"), partial(torch.optim.SGD, lr=0.1))
    flags = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with torch.no_grad():
        errors = [module.network(x)[:, 0].abs().mean() for x in (X[:6], X[6:])]
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, **flags)
    (found,) = trainer.validate(module, DataLoader(X, 6), verbose=False)
    assert found["val/error"] == pytest.approx(float(sum(errors) / 2))  # of 6 samples and of 2, each counts as one


BOTH = {"sine": Mse(), "cosine": Mse()}
FIXED = torch.zeros(8)
NAMES = {"cosin": Term(FIXED, FIXED)}

# In the order of the pages' rows.
MISTAKES: dict[str, list[Callable[[], object]]] = {
    "../plugins": [
        asked("problem=my_two_curves", "weighting=my_unit_nrom"),
        lambda: registry.load("loss", "my_broken"),
        lambda: registry.load("weighting", "my_misplaced"),
        lambda: registry.load("loss", "my_twin"),
        asked("problem=my_two_curves", "losses.sine=my_needy"),
    ],
    "loss": [
        suite("loss", "gives_one_value_for_each_sample", lambda: reduces),
        suite("loss", "samples_do_not_meet", lambda: compares_with_the_others),
        suite("loss", "masked_samples_take_no_part", MasksAfterwards),
        suite("loss", "is_finite_for_large_predictions", lambda: takes_logarithms),
        suite("loss", "waits_for_no_device", lambda: looks),
        lambda: build("loss", {"name": "mistakes:Renamed", "eps": "linear(0,1)"}),
        lambda: build("loss", {"name": "my_charbonnier", "epz": 0.1}),
        lambda: build("loss", {"name": "mistakes:plain", "eps": 0.1}),
        lambda: build("loss", "mistakes:takes_three"),
    ],
    "penalty": [
        suite("penalty", "gives_one_number_of_at_least_0", penalty_of(lambda given: -norms(given).sum())),
        suite("penalty", "gives_one_number_of_at_least_0", penalty_of(norms)),
        suite(
            "penalty",
            "is_finite_with_its_gradient_for_small_and_large_parameters",
            penalty_of(lambda given: norms(given).sum().sqrt()),
        ),
        suite(
            "penalty",
            "computes_in_single_precision_at_least",
            penalty_of(lambda given: sum((p.square().sum() for p in given[1:]), start=given[0].square().sum())),
        ),
        suite("penalty", "leaves_the_parameters_alone", penalty_of(writes)),
        asked("problem=my_two_curves", "penalties.my_group_laso=1"),
        lambda: Penalties({"my_group_lasso": {"on": "trunc"}}).bind(network()),
        lambda: Penalties({"my_group_lasso": {"on": "norm"}}).bind(network()),
        asked("problem=my_two_curves", "penalties.sine.name=my_group_lasso"),
        asked("problem=my_ring", "penalties.my_group_lasso=1"),
    ],
    "weighting": [
        lambda: balanced(Steep()),
        suite("weighting", "needs_are_enough", Ahead),
        lambda: balanced("my_unit_norm"),
        lambda: balanced("my_unit_norm", anchor=X),
        lambda: balanced(Logarithms(), {"a": torch.tensor(-1.0, requires_grad=True)}),
        suite("weighting", "has_no_parameters", WithParameter),
        suite("weighting", "state_survives_a_checkpoint", WithAttribute),
        suite("weighting", "forward_writes_nothing", Writing),
        suite("weighting", "an_absent_loss_learns_nothing", WithoutAxes),
        suite("weighting", "an_absent_loss_says_nothing", OfAll),
        suite("weighting", "waits_for_no_device", Looking),
        suite("weighting", "claim_sums_to_count", Claiming),
        lambda: build_weighting({"name": "my_unit_norm", "deacy": 0.5}),
    ],
    "wrapper": [
        never_learns,
        lambda: balanced(Bare(build_weighting("equal"))),
        lambda: Innerless(build_weighting("equal")),
        sharpened_surgery,
        asked("problem=my_two_curves", "weighting=my_sharpen"),
        lambda: build_weighting({"name": "equal", "wrap": ["my_sharpn"]}),
        lambda: build_weighting({"name": "equal", "wrap": [{"my_sharpen": {"power": 2}}]}),
    ],
    "sample_weighting": [
        lambda: sampled(Labelling()),
        lambda: sampled(Remembering()),
        lambda: sampled(Remembering(), samples=4),
        lambda: sampled(Remembering(), index=torch.arange(1, 5), samples=4),
        lambda: sampled(Classes()),
        of_one_term,
        lambda: Keyed().bind(40)(batches()[0]),
        suite("sample_weighting", "a_masked_sample_says_nothing", OfAllSamples),
        suite("sample_weighting", "gives_one_weight_for_each_sample", Negative),
        lambda: sampled(Nothing()),
    ],
    "module": [
        asked("problem=my_two_curves", "module=my_averagd"),
        asked("problem=my_two_curves", "module=my_averaged", "module.decy=0.5"),
        asked("problem=my_two_curves", "module=my_averaged", "module.decay=2"),
        asked("problem=my_ring", "module=my_averaged"),
        asked("problem=my_two_curves", "module=mistakes:Registered"),
        module_suite("refuses_a_wrong_problem_with_a_sentence", lambda: Lenient()),
        module_suite("a_resumed_run_goes_on_bit_for_bit", lambda: Forgetful()),
        module_suite("trains_records_and_measures", lambda: Idle()),
    ],
    "problem": [
        lambda: trained(Curves(lambda features: terms(features, **NAMES)), BOTH),
        lambda: trained(Curves(terms), {"sine": Mse()}),
        lambda: trained(Curves(terms), BOTH, "my_unit_norm"),
        lambda: trained(Unbranched(terms), BOTH, anchor="fork"),
        lambda: trained(type("Empty", (Curves,), {"terms": {}})(), {}),
        lambda: Unfinished(),  # type: ignore[abstract]
        lambda: played("radius", Term(FIXED, FIXED), Mse()),
        lambda: played("adv", Verdict(FIXED, FIXED), Mse()),
        asked("problem=my_ring", "discriminator.losses.adv=gan_hinge"),
        asked("problem=my_ring", "module=multitask"),
        means_its_metrics,
    ],
    "experiment": [
        asked("experiment=my_curve"),
        asked("experiment=mistyped"),
        asked("experiment=missing"),
        asked("experiment=unplaced", "weighting=my_unit_norm"),
    ],
}


def rows(page: str) -> list[str]:
    """What is said of each mistake in the table of ``page``."""
    text = (DOCS / "plugins" / f"{page}.md").resolve().read_text()
    table = text.partition("| mistake | what is said |\n|---|---|\n")[2].partition("\n\n")[0]
    return [line.rpartition(" | ")[2].removesuffix(" |") for line in table.splitlines()]


@pytest.mark.parametrize("page", MISTAKES)
def test_every_mistake_of_a_page_is_made_here(page: str) -> None:
    assert len(rows(page)) == len(MISTAKES[page])


@pytest.mark.parametrize(("page", "number"), [(page, i) for page in MISTAKES for i in range(len(MISTAKES[page]))])
def test_a_mistake_is_answered_with_what_the_page_says(page: str, number: int) -> None:
    said, make = rows(page)[number], MISTAKES[page][number]
    if said.startswith("nothing: "):
        make()
        return
    expected = said.removesuffix(" (suite)").removesuffix(" (warning)").strip("`")
    with pytest.raises(Exception) as raised:  # noqa: PT011
        make()
    assert expected in " ".join(str(raised.value).split()), str(raised.value)
