"""The plugins in plugins/, built and installed as a user would have them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDS = {
    "template": None,
    "autoloss-mean-teacher": "sklearn",
    "autoloss-torchjd": "torchjd",
    "autoloss-metric-learning": "pytorch_metric_learning",
}
pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec(module) is None, reason=f"{module} not installed: nothing to build with"
    )
    for module in ("pip", "hatchling")
]


def _has(plugin: str) -> bool:
    needed = NEEDS[plugin]
    return needed is None or importlib.util.find_spec(needed) is not None


def _skip_without(plugin: str) -> None:
    if not _has(plugin):
        pytest.skip(f"{NEEDS[plugin]} not installed")


@pytest.fixture(scope="session")
def site(tmp_path_factory, python) -> Path:
    """A directory with every plugin installed whose library is there."""
    target = tmp_path_factory.mktemp("installed")
    found = [str(ROOT / "plugins" / plugin) for plugin in NEEDS if _has(plugin)]
    flags = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    result = python("-m", "pip", "install", *flags, "--target", str(target), *found)
    assert result.returncode == 0, result.stderr
    return target


def test_every_component_is_listed_and_loads(site, autoloss) -> None:
    result = autoloss("plugins", "--json", "--check", path=site)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = {(row["kind"], row["name"]): row for row in json.loads(result.stdout)}
    for kind, name, plugin in (
        ("loss", "template_quantile", "template"),
        ("weighting", "template_inverse_mean", "template"),
        ("problem", "template_noisy_sine", "template"),
        ("sample_weighting", "template_winsor", "template"),
        ("module", "mean_teacher", "autoloss-mean-teacher"),
        ("problem", "few_labels", "autoloss-mean-teacher"),
        ("weighting", "torchjd_pcgrad", "autoloss-torchjd"),
        # Its solver may be missing: it is listed all the same.
        ("weighting", "torchjd_upgrad", "autoloss-torchjd"),
        ("loss", "pml_triplet_margin", "autoloss-metric-learning"),
    ):
        if _has(plugin):
            row = rows[kind, name]
            assert (row["distribution"].removeprefix("autoloss-"), row["status"]) == (
                plugin.removeprefix("autoloss-"),
                "ok",
            )


def _train(autoloss, site: Path, where: Path, *overrides: str) -> dict:
    result = autoloss("train", "trainer.max_epochs=1", *overrides, path=site)
    assert result.returncode == 0, result.stdout + result.stderr
    (summary,) = (where / "outputs").rglob("summary.json")
    return json.loads(summary.read_text())


def test_the_template_trains_by_name(site, autoloss, tmp_path) -> None:
    summary = _train(
        autoloss,
        site,
        tmp_path,
        "problem=template_noisy_sine",
        "weighting=template_inverse_mean",
        "weighting.decay=0.5",
        "losses.upper.q=0.8",
        "sample_weighting=template_winsor",
        "sample_weighting.factor=3",
    )
    assert summary["config"]["losses"]["upper"] == {"name": "template_quantile", "q": 0.8}
    assert summary["config"]["weighting"]["decay"] == 0.5
    assert (summary["sample_weighting"], summary["config"]["sample_weighting"]["factor"]) == ("template_winsor", 3)
    assert sum(summary["final_weights"].values()) == pytest.approx(2.0, rel=1e-4)
    assert set(summary["metrics"]) == {"middle_mae", "upper_pinball"}


def test_the_libraries_train_by_name(site, autoloss, tmp_path) -> None:
    _skip_without("autoloss-torchjd")
    _skip_without("autoloss-metric-learning")
    (tmp_path / "embeddings.py").write_text(
        "from autoloss import Outputs, Term\n"
        "from autoloss.problems.two_digits import TwoDigits\n"
        "class Embeddings(TwoDigits):\n"
        '    terms = {"left": "cross_entropy", "embedding": "pml_nt_xent"}\n'
        '    metrics = {"left_error": "min"}\n'
        "    def outputs(self, network, batch):\n"
        '        features, left, _, _ = network(batch["canvas"])\n'
        '        digits = batch["left"]\n'
        '        return Outputs({"left": Term(left, digits), "embedding": Term(features, digits)}, anchor=features)\n'
        "    def measure(self, outputs):\n"
        '        left = outputs.term("left")\n'
        '        return {"left_error": (left.prediction.argmax(1) != left.target).float()}\n'
    )
    summary = _train(
        autoloss,
        site,
        tmp_path,
        "problem=embeddings:Embeddings",
        "problem.pairs=256",
        "losses.embedding=pml_triplet_margin",
        "losses.embedding.margin=0.2",
        "weighting=torchjd_mgda",
        "weighting.max_iters=20",
        "weighting.wrap=[ema]",
    )
    assert summary["config"]["losses"]["embedding"]["margin"] == 0.2
    assert sum(summary["final_weights"].values()) == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize(
    "plugin",
    [
        "template",
        pytest.param("autoloss-metric-learning", marks=pytest.mark.slow),
        pytest.param("autoloss-torchjd", marks=pytest.mark.slow),
    ],
)
def test_the_plugins_own_tests_pass(plugin: str, site, run_tests) -> None:
    _skip_without(plugin)
    result = run_tests(ROOT / "plugins" / plugin, site)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
