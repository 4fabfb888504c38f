"""``python -m autoloss``."""

from autoloss.app.main import run

run()
