"""``python -m autoloss``."""

from autoloss.app.parent import follow

# Before anything slow is imported.
follow()

from autoloss.app.main import run  # noqa: E402

run()
