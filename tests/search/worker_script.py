"""One worker of a study that trains nothing; a trial takes SECONDS. STORAGE may be a URL, or - for a journal."""

import sys
import time
from pathlib import Path

from autoloss.core.space import Interval
from autoloss.search.engine import Search, Settings
from autoloss.search.runner import Result
from autoloss.search.samplers import build_pruner, build_sampler
from autoloss.search.space import Space
from autoloss.search.study import open_storage, open_study

if __name__ == "__main__":
    directory, n_trials, seconds, storage = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]

    def run(candidate, seed, directory, report, test=False):
        time.sleep(seconds)
        return Result({"error": 1 + len(candidate.label)}, {}, {"a": 0.5, "b": 1.5}, 2.0)

    space = Space(("a", "b"), {"equal": {}, "fixed": {}, "gradnorm": {"alpha": Interval(0, 3)}, "dwa": {}})
    opened = open_storage(None if storage == "-" else storage, directory)
    study = open_study(opened, "autoloss", {}, ["maximize"], build_pruner({"name": "none"}, 1, 0))
    study.sampler = build_sampler({"name": "random"}, 0, 1)
    settings = Settings(n_trials, heartbeat=0.2, grace=2.0, pause=0.05)
    search = Search(study, space, run, {"error": "min"}, settings, directory, says=lambda line: None)
    search.plan()
    search.work()
