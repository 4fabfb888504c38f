"""Single mistakes on the command line: exit code 2, one sentence that says what to write, and nothing left behind."""

import re
import shlex
import sys
from types import ModuleType

import pytest

from autoloss.app.composition import composed
from autoloss.app.config_types import NULLABLE, WORD_OR_NUMBER, own_keys
from autoloss.app.verbs import VERBS
from autoloss.core.errors import ConfigError

# What is typed, and words that the answer must have. Nothing is imported for these that takes seconds.
EARLY = {
    "trian": "Did you mean 'train'?",
    "train --seed 3": "'--seed' is neither. Write seed=3.",
    "train --seed=3": "Write seed=3.",
    "train --batch-size 64": "Write batch_size=64.",
    "search --n-trials": "Write n_trials=VALUE.",
    "train -x": "See --hydra-help",
    "train seed 3": "Write seed=VALUE.",
    "train weighting gradnorm": "Write weighting=VALUE.",
    "train batch_size=[": "the bracket '[' is not closed.",
    "train 'name=a(b'": "the bracket '(' is not closed.",
    "train =3": "Write key=value or key.inner=value.",
    "train weigthing=equal": "Did you mean 'weighting'?",
    "train weighting=gradnrom": "Did you mean 'gradnorm'?",
    "train weighting=equal,dwa": "Add -m for a sweep.",
    "train weighting=dwa weighting.alpha=1": "alpha is one of fairgrad, gradnorm, relobralo. Write for example weighting=",
    "train weighting=gradnorm weighting.alpah=1": "Did you mean 'weighting.alpha'?",
    "train problem=two_digit": "Did you mean 'two_digits'?",
    "train problem.pair=3": "Did you mean 'problem.pairs'?",
    "train problem=tabular": "Write problem.csv=...",
    "train 'losses.right={gamma:2}'": "Write losses.right=NAME losses.right.PARAMETER=VALUE.",
    "train 'losses.right={name:focal,gama:2}'": "Did you mean 'losses.right.gamma'?",
    "train 'losses.right={name:focl}'": "No loss is called 'focl'. Did you mean 'focal'?",
    "train discriminator.weighting=gradnorm": "No key is called 'discriminator.weighting'.",
    "train 'constraints=[left]'": "constraints holds keys with values, but it was set to [left].",
    "train 'weighting.wrap={every_n:{n:2}}'": "weighting.wrap is a list, but it was set to {every_n:{n:2}}.",
    "describe constraints": "'constraints' is a key of a run. See autoloss train --help",
    "describe PCD": "Write pcd.",
    "train loss=focal": "Write losses.left=focal. The problem's losses are left, right, pixels.",
    "train losses=focal": "Write losses.left=focal. The problem's losses are left, right, pixels.",
    "train -m loss=focal,mse": "Write losses.left=focal",
    "compare losses=focal,mse": "Write losses.left=focal",
    "train problem=helmholtz losses=mae": "The problem's losses are residual, boundary.",
    "train losses.left=focl": "Did you mean 'focal'?",
    "train losses.lft=focal": "Did you mean 'losses.left'?",
    "train losses.left.gamma=2": "cross_entropy has the parameters label_smoothing, class_weights, ignore_index, and gamma",
    "train lr=0.1": "Did you mean 'optimizer.lr'?",
    "train epochs=3": "Did you mean 'trainer.max_epochs'?",
    "train trainer.max_epoch=1": "Did you mean 'trainer.max_epochs'?",
    "train optimizer=adan": "Did you mean 'adam'?",
    "train optimizer.lr=fast": "optimizer.lr must be a number, but it is 'fast'.",
    "train seed=abc": "seed must be a whole number, but it is 'abc'.",
    "train seed=1.5": "seed must be a whole number, but it is 1.5.",
    "train batch_size=null": "batch_size must be a whole number, but it is None.",
    "train record.every=often": "record.every must be a whole number",
    "train plateau=3": "plateau must be a mapping",
    "train test=perhaps": "test must be true or false",
    "train experiment=none": "There are: kendall.",
    "train load=nowhere.yaml": "there is no file 'nowhere.yaml'",
    "train compare.seeds=3": "Write autoloss compare compare.seeds=3.",
    "train hydra/sweeper=autoloss search.n_trials=2": "hydra.sweeper.n_trials=2 with hydra/sweeper=autoloss.",
    "train hydra/sweeper=autolos": "No hydra.sweeper is called 'autolos'. Did you mean 'autoloss'?",
    "search search.sampler=bayes": "No search.sampler is called 'bayes'.",
    "search search.pruner=hyper": "No search.pruner is called 'hyper'. Did you mean 'hyperband'?",
    "search search.trials=3": "Did you mean 'search.n_trials'?",
    "search search.n_trials=many": "search.n_trials must be a whole number, but it is 'many'.",
    "search search.keep=perhaps": "search.keep must be true or false, but it is 'perhaps'.",
    "search search.losses.left=focal": "search.losses.left must be a list, but it is 'focal'.",
    "search search.weightings=[[gradnorm]]": "search.weightings[0] must be text",
    "search search.space=3": "search.space must be a mapping of names, but it is 3.",
    "search search.pruner=median search.pruner.n_warmup_steps=few": "search.pruner.n_warmup_steps must be a whole number",
    "meta problems=two_digits": "problems must be a list, but it is 'two_digits'.",
    "search compare.seeds=3": "Write autoloss compare compare.seeds=3.",
    "compare": "Write weighting=equal,gradnorm.",
    "compare seed=1,2": "Set compare.seeds=5.",
    "compare weighting=equal,dwa compare.baseline=mgda": "'mgda' is not among 'equal', 'dwa'",
    "diagnose diagnose.run=2": "Did you mean 'diagnose.runs'?",
    "meta": "Write problems=[two_digits].",
    "meta problems=[two_digits,two_digits]": "Problems must be distinct",
    "describe": "needs name, but got none",
    "describe weighting": "Write autoloss plugins weighting for a list",
    "describe gradnrom": "Did you mean 'gradnorm'?",
    "describe weightin gradnorm": "No kind is called 'weightin'. Did you mean 'weighting'?",
    "plugins weightings": "Did you mean 'weighting'?",
    "report": "needs DIR, but got none",
    "replay": "needs RUN_DIR, but got none",
    "distill nowhere --points many": "many",
    "distill nowhere --pionts 3": "--pionts",
}
# Found when the problem and the components are built.
BUILT = {
    "train workers=-1": "workers must be at least 0, but it is -1.",
    "train threads=0": "threads must be at least 1, but it is 0.",
    "train batch_size=0": "batch_size must be at least 1",
    "train anchor=here": "anchor must be one of",
    "train base.middle=2": "No loss is called 'middle'.",
    "train groups.g=[a,b]": "No loss is called 'a'.",
    "train weighting.wrap=[emma]": "Did you mean 'ema'?",
    "train weighting=dwa weighting.temperature=0": "temperature",
    "train on_nonfinite=ignore": "on_nonfinite must be one of",
    "train ckpt=nowhere.ckpt": "there is no file 'nowhere.ckpt'",
    "train trainer.max_epochs=many": "trainer.max_epochs must be a whole number",
    "train name=a/b": "For a directory somewhere else set hydra.run.dir.",
    "train problem=tabular problem.csv=none.csv problem.targets=[a]": "there is no file 'none.csv'",
    "train held_out.share=2 weighting=auto_lambda": "held_out.share must lie between 0 and 1",
    "train trainer.logger=5": "trainer.logger must be null, one of csv, wandb, mlflow, or a list of them",
    "train trainer.logger=[[csv]]": "trainer.logger must be null",
    "train losses.left.by=3": "A key of groups must be a name, but it is 3",
    "train losses.left.by=[group]": "A key of groups must be a name",
    "train losses.left.groups=[a,b]": "losses.left.groups names the groups of a key, but there is none",
    "train '+constraints.left={max:1,loss:5}'": "No loss is called '5'",
    "train 'weighting.wrap=[{from_auto:{norm:-1}}]'": "`norm` must be at least 0, but norm=-1",
    "train losses.right=focal 'losses.right.gamma=learned(2,0,5,inf)'": "must be above 0 and finite, but it is inf",
    "train 'weighting.wrap=[from_auto,from_auto]'": "Weights can begin with those of auto once",
    "train 'weighting.wrap=[{name:from_auto,steps:-1}]'": "No parameter of wrapper 'from_auto' is called 'steps'.",
    "train weighting=pcd weighting.main=left weighting.tau.left=0.3": "`tau` must name losses beside the main one",
    "train weighting=pcd weighting.tau.nope=1": "A number by loss must name a loss, but there is no loss 'nope'.",
    "train constraints.left.loss=right constraints.left.max=0.1": "constraints.left.loss is for metrics",
    "train problem=shortcut_digits losses.odd.by=group 'losses.odd.groups=[a/b,c]'": "but one is 'a/b'",
    "train sample_weighting=min_snr": "No key of the data is called 'level'.",
    "train problem=shortcut_digits losses.odd.by=group anchor=fork": "cannot meet in a fork",
    "search search.n_trials=0": "n_trials",
    "search search.objectives=[speed]": "there is no metric 'speed'",
    "search search.timeout=soon": "search.timeout must be a time such as 90s, 10m or 2h",
    "search search.weightings=[gradnrom]": "Did you mean 'gradnorm'?",
    "search search.losses.left=[focl]": "Did you mean 'focal'?",
    "search search.confirm_seeds=1": "search.confirm_seeds must be at least 2",
    "search search.workers=0": "search.workers must be at least 1",
    "search search.storage=mydb": "mydb",
    "search search.folds=-1": "search.folds must be at least 0, but it is -1.",
    "search search.grid_points=0": "search.grid_points must be at least 1, but it is 0.",
    "search search.guard=[5]": "search.guard must be a share",
    "search search.fleet=some": "search.fleet must be auto, or a number of at least 1",
    "search search.sampler.n_startup_trials=-1": "search.sampler.n_startup_trials must be a whole number of at least 0",
    "search search.pruner=hyperband search.pruner.reduction_factor=1": "must be a whole number of at least 2",
    "search search.pruner=hyperband search.pruner.max_resource=[3]": "search.pruner.max_resource must be a whole number of at least 1",
    "search search.folds=3 search.pruner=wilcoxon search.pruner.p_threshold=2": "must lie between 0 and 1, but it is 2",
    "compare weighting=equal,dwa compare.folds=-1": "compare.folds must be at least 0, but it is -1.",
    "compare weighting=equal,dwa compare.fleet=[2]": "compare.fleet must be auto, or a number of at least 1",
    "diagnose diagnose.epochs=0": "diagnose.epochs must be at least 1, but it is 0.",
    "diagnose diagnose.runs=0": "diagnose.runs",
}


def said(mistaken, tmp_path, line):
    """The one sentence that ``line`` is answered with."""
    code, out, err = mistaken(line)
    assert (code, out) == (2, ""), out + err
    assert err.startswith("autoloss: ")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    return err


@pytest.mark.parametrize("line", EARLY)
def test_a_mistake_is_answered_before_torch_is_imported(mistaken, tmp_path, monkeypatch, line):
    nothing = ModuleType("autoloss.app.prepare")  # what imports torch and Lightning
    monkeypatch.setitem(sys.modules, nothing.__name__, nothing)
    err = said(mistaken, tmp_path, line)
    assert EARLY[line] in err
    assert len(err.splitlines()) == (2 if line.endswith("tabular") else 1)


@pytest.mark.parametrize("line", BUILT)
def test_a_mistake_is_answered_before_anything_is_trained(mistaken, tmp_path, line):
    err = said(mistaken, tmp_path, line)
    assert BUILT[line] in err
    assert len(err.splitlines()) == 1


def leaves(node, above=""):
    for key, value in node.items():
        yield from leaves(value, f"{above}{key}.") if isinstance(value, dict) and value else [(f"{above}{key}", value)]


OWN = [(verb, key, default) for verb in VERBS for key, default in leaves(own_keys(verb))]


@pytest.mark.parametrize(("verb", "key", "default"), OWN, ids=lambda one: str(one))
def test_every_key_of_a_verb_has_the_type_of_its_default(verb, key, default):
    if key in WORD_OR_NUMBER:
        pytest.skip("the code that reads it checks it: above")
    wrong = ["[1,a]", "{a:1}"] if isinstance(default, str) else ["some", "[1,a]"]
    texts = {key for key, of in NULLABLE.items() if of is str}
    for value in ["[1,a]", "{a:1}"] if key in texts else wrong:
        with pytest.raises(ConfigError, match=rf"{re.escape(key)}\S* must be|is a list, but|Write \+?{key}"):
            composed(verb, [f"{key}={value}"])


def test_there_are_enough_of_them():
    assert len(OWN) > 30
    assert len(EARLY) >= 50
    assert len({shlex.split(line)[0] for line in EARLY}) >= 9
