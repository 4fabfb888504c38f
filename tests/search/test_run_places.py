"""Runs of a search are named after their weighting, and a search that an older version began goes on."""

from autoloss.search.run_places import confirmation, trial_place
from autoloss.search.space import Candidate

GRADNORM = Candidate({"name": "gradnorm", "alpha": 1.5}, {}, {})


def test_a_trial_is_named_after_its_weighting():
    assert trial_place(4, GRADNORM) == "trials/0004-gradnorm"
    named = trial_place(12, Candidate({"name": "my.module/Base"}, {}, {}))
    assert named.startswith("trials/0012-my.module_Base")
    assert named.count("/") == 1


def test_a_confirmation_goes_on_where_an_older_version_began_it(tmp_path):
    assert confirmation(tmp_path, 2, GRADNORM, 7) == tmp_path / "confirm" / "0002-gradnorm" / "seed_7"
    (tmp_path / "confirm" / "0002").mkdir(parents=True)
    assert confirmation(tmp_path, 2, GRADNORM, 7) == tmp_path / "confirm" / "0002" / "seed_7"
    assert confirmation(tmp_path, 3, GRADNORM, 7) == tmp_path / "confirm" / "0003-gradnorm" / "seed_7"
