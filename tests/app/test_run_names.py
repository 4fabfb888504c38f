"""Names of run directories: those of 0.1.0 stay, and whatever differs between two runs is in the name or its digest."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoloss.app.run_names import directory_name, job_name, job_names, run_name
from autoloss.app.sweep_places import _resolve
from autoloss.core.errors import ConfigError
from autoloss.core.io.names import checked_name, made_name

TERMS = [f"losses.term{i}=cross_entropy" for i in range(8)]


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (
            ["weighting=gradnorm", "losses.left=[cross_entropy,focal]", "seed=0,1"],
            "gradnorm-losses.left_cross_entropy_focal_-seed_0_1",
        ),
        (
            ["+loss@losses.a=focal", "++base.kl=1e-6", '++weighting.schedules.kl="linear(0,1)"'],
            "losses.a_focal-base.kl_1e-6-weighting.schedules.kl_linear_0_1",
        ),
        (["problem.pairs=200", "weighting=my_module:Mine", "workers=4"], "problem.pairs_200-my_module_Mine"),
        (
            TERMS,
            "losses.term0_cross_entropy-losses.term1_cross_entropy-losses.term2_cross_entropy-losses.t-c3ae478c",
        ),
    ],
)
def test_names_of_0_1_0_stay(overrides, name):
    assert run_name("two_digits", overrides) == f"two_digits-{name}"


@pytest.mark.parametrize(
    ("dirname", "name"),
    [
        ("seed=0\x1fweighting=gradnorm\x1ftrainer.max_epochs=1", "gradnorm-seed_0"),
        ("a.lr=1e-3\x1floss@losses.left=focal", "a.lr_1e-3-losses.left_focal"),
        ("trainer.max_epochs=1", "run"),
        ("weighting=mine\\:Broken\x1fseed=1", "mine_Broken-seed_1"),
        (
            "\x1f".join(TERMS),
            "losses.term0_cross_entropy-losses.term1_cross_entropy-losses.term2_cross_entropy-losses.term3_cross-1715d773",
        ),
    ],
)
def test_names_of_jobs_of_0_1_0_stay(dirname, name):
    assert _resolve(dirname, "trainer.max_epochs") == name


def test_what_was_changed_has_a_digest():
    names = [
        run_name("p", [f"data={value}"]) for value in ("a b", "a/b", "a\tb", "ä", "a\u0308", "日本", "中国", "~", "*")
    ]
    assert len({name.casefold() for name in names}) == len(names)
    assert names[5].startswith("p-data_日本-")
    assert all("/" not in name for name in names)
    assert job_name(["name=日本"]) != job_name(["name=中国"])


def test_keys_that_name_no_run_name_the_jobs_of_a_sweep_over_them():
    for key in ("problem", "name", "test", "workers", "ckpt", "load", "threads", "fresh"):
        one, other = job_names([[f"{key}=a"], [f"{key}=b"]])
        assert one != other


# On a busy machine drawing is slow, which says nothing about names.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=3), min_size=1, max_size=6, unique_by=tuple))
def test_jobs_that_differ_have_different_names(jobs):
    jobs = [[f"key{i}={value}" for i, value in enumerate(job)] for job in jobs]
    names = job_names(jobs)
    assert len({name.casefold() for name in names}) == len(jobs)
    assert all("/" not in name and name not in ("", ".", "..") and len(name.encode()) < 200 for name in names)


def test_long_names_of_any_script_fit():
    assert len(made_name(["日" * 300]).encode()) <= 120
    assert made_name(["日" * 300]) != made_name(["日" * 301])


@pytest.mark.parametrize("name", ["a" * 300, "日" * 90])
def test_a_name_that_no_file_system_takes_is_a_sentence(name):
    with pytest.raises(ConfigError, match="name must be at most 255 bytes long, .*, but it has"):
        checked_name(name)
    assert checked_name("日" * 85)


def test_a_sweep_over_problems_and_names_is_named_after_all_of_them():
    configs = [{"name": None, "problem": {"name": one}} for one in ("tabular", "two_digits")]
    assert directory_name(configs, ["problem=tabular,two_digits", "seed=0,1"]) == "tabular_two_digits-seed_0_1"
    named = [{"name": one, "problem": {"name": "tabular"}} for one in ("a", "b")]
    assert directory_name(named, ["name=a,b"]) == "a_b"
