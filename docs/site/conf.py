"""Sphinx reads this: how the pages become a site. `make docs` builds it."""

from __future__ import annotations

from autoloss import __version__

project = "autoloss"
author = "autoloss contributors"
version = release = __version__
language = "en"
root_doc = "README"
extensions = ["myst_parser"]
myst_heading_anchors = 6  # as GitHub: a heading can be linked to by its words
suppress_warnings = ["toc.not_included"]  # a page that only others link to
highlight_language = "text"  # of a block that names no language
html_theme = "furo"
html_title = f"autoloss {__version__}"
html_show_copyright = False
html_copy_source = False
html_permalinks = False
# Nothing of a page comes from a server: the theme's fonts are the system's, and its scripts are in the site.
html_theme_options = {"navigation_with_keys": True}
