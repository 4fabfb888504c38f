"""Files of somebody else: what they may say, and what only somebody who types may."""

import pytest
import yaml
from optuna import load_study
from optuna.trial import create_trial
from torch.optim import SGD, Optimizer

from autoloss.app.instantiate import factory
from autoloss.app.search_study import check_candidates
from autoloss.app.trust import check_loaded, import_paths, was_typed
from autoloss.core.errors import ConfigError
from autoloss.core.io.text_table import markdown
from autoloss.core.space import Choice
from autoloss.search.space import Space
from autoloss.search.study import open_storage

EVIL = "import pathlib\npathlib.Path('owned').touch()\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("problem=evil:Problem", "would import 'evil:Problem'. If you trust it, type it too: problem=evil:Problem."),
        ("weighting=evil:Weighting", "would import 'evil:Weighting'"),
        ("losses.left=evil:loss", "would import 'evil:loss'"),
        ("losses.left=[mse,evil:loss]", "would import 'evil:loss'"),
        ("weighting.wrap=[{ema:{}},'evil:Wrapper']", "would import 'evil:Wrapper'"),
        ("module.difficulty=evil:difficulty", "would import 'evil:difficulty'"),
        ("optimizer._target_=evil.Optimizer", "A _target_ must lie in one of torch.optim, autoloss"),
        ("optimizer._target_=subprocess.Popen", "or be typed on the command line, but it is 'subprocess.Popen'"),
        ("optimizer._target_=torch.hub.load", "or be typed on the command line, but it is 'torch.hub.load'"),
        ("optimizer._target_=torch.optim.os.system", "torch.optim.os.system must be importable"),
        ("+optimizer.betas={_target_:evil.Optimizer}", "must be plain values, but _target_ is among them"),
        ("hydra.run.dir=/somewhere", "A loaded file must configure a run, but stranger.yaml has 'hydra.run.dir'."),
        ("hydra/launcher=evil", "must configure a run, but stranger.yaml has 'hydra/launcher'."),
        ("+hydra.callbacks.x._target_=evil.Callback", "must configure a run"),
        ("--config-dir=evil", "must configure a run"),
        ("name=../../x", "name must be a directory's name"),
        ("name=${oc.env:HOME}", "A loaded file must hold plain values"),
    ],
)
def test_a_strangers_file_imports_nothing(mistaken, tmp_path, line, says):
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "stranger.yaml").write_text(yaml.safe_dump({"overrides": [line]}))
    code, _, err = mistaken("train load=stranger.yaml")
    assert (code, err.startswith("autoloss: ")) == (2, True), err
    assert says in err
    assert not (tmp_path / "owned").exists()


def test_plain_keys_are_looked_at_like_overrides(mistaken, tmp_path):
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "stranger.yaml").write_text("losses:\n  left: evil:loss\n")
    code, _, err = mistaken("train load=stranger.yaml")
    assert code == 2
    assert "would import 'evil:loss'" in err
    assert not (tmp_path / "owned").exists()


def test_what_is_typed_too_is_trusted(monkeypatch):
    check_loaded(["problem=mine:Problem"], ["problem=mine:Problem"], "best.yaml")
    check_loaded(["losses.left=mine:loss", "weighting.weights={left:0.5}"], ["losses.left=mse,mine:loss"], "best.yaml")
    monkeypatch.setenv("AUTOLOSS_TYPED", "mine.Lion\nother.Opt,mine.Tiger")
    assert was_typed("mine.Lion")
    assert was_typed("mine.Tiger")
    assert not any(was_typed(one) for one in ("mine", "Lion", "other.Opt,mine.Tiger"))


def test_where_nothing_is_typed_nothing_is_trusted(monkeypatch):
    monkeypatch.delenv("AUTOLOSS_TYPED", raising=False)
    assert not was_typed("")


def test_registered_names_and_plain_values_are_no_import_paths():
    lines = ["weighting=gradnorm", "base.kl=1e-6", "weighting.weights={left:0.5,right:1}", "search.timeout=10m"]
    assert import_paths([*lines, "weighting.schedules.a=linear(0,1)"]) == []
    assert import_paths(["weighting.wrap=[{ema:{decay:0.9}}]", "+a={b:['x:y']}"]) == ["x:y"]


def test_a_factory_makes_what_it_was_told_to():
    made = factory({"_target_": "torch.optim.SGD", "lr": 0.5}, Optimizer)
    assert (made.func, made.keywords) == (SGD, {"lr": 0.5})
    with pytest.raises(ConfigError, match="must be a subclass of Optimizer"):
        factory({"_target_": "torch.optim.lr_scheduler.StepLR"}, Optimizer)
    with pytest.raises(ConfigError, match="must lie in one of"):
        factory({}, Optimizer)


def test_a_name_does_not_break_out_of_its_cell():
    table = markdown([["run"], ["<script>alert(1)</script>|x\n| y"]])
    assert table.splitlines()[-1] == r"| &lt;script>alert(1)&lt;/script>\|x \| y |"
    assert len(table.splitlines()) == 3


def test_a_strangers_study_imports_nothing(autoloss, tmp_path):
    (tmp_path / "evil.py").write_text(EVIL)
    command = ("search", "problem.pairs=200", "trainer.max_epochs=1", "name=theirs", "search.weightings=[dwa]")
    confirmed = ("search.confirm=1", "search.confirm_seeds=2")
    assert autoloss(*command, "search.n_trials=2", "search.confirm=0").returncode == 0
    study = load_study(study_name=None, storage=open_storage(None, tmp_path / "outputs/search/theirs"))
    last = study.trials[1]
    for candidate, found in (
        ({"weighting": {"name": "evil:Weighting"}, "losses": {}, "keys": {}}, "'evil:Weighting'"),
        ({"weighting": {"name": "dwa", "wrap": ["evil:Wrap"]}, "losses": {}, "keys": {}}, "'evil:Wrap'"),
        ({"weighting": {"name": "dwa"}, "losses": {"left": "evil:loss"}, "keys": {}}, "'evil:loss', losses.left"),
        ({"weighting": {"name": "dwa"}, "losses": {}, "keys": {"hydra.run.dir": "x"}}, "hydra.run.dir"),
    ):
        attributes = {**last.user_attrs, "candidate": candidate}
        value = study.best_value + 1
        study.add_trial(
            create_trial(params=last.params, distributions=last.distributions, value=value, user_attrs=attributes)
        )
        done = autoloss(*command, *confirmed, "search.n_trials=2")
        assert done.returncode == 2, done.stdout
        assert "A study must hold only what its search offers" in done.stderr
        assert f"has {found}. " in done.stderr
    assert not (tmp_path / "owned").exists()


def test_what_a_search_offers_may_be_imported():
    space = Space(
        ("a", "b"),
        {"equal": {}, "mine:Weighting": {}},
        {"a": ("mse", "[mae,mine:loss]")},
        {"optimizer.x": Choice(("mine:x", "y"))},
        wrap={"mine:Weighting": ["ema", {"mine:Wrap": {"speed": 1}}]},
    )
    candidate = space.candidate("mine:Weighting", {}, {"a": "[mae,mine:loss]"}, {"optimizer.x": "mine:x"})
    check_candidates([(1, candidate)], space, "study")
