"""Builds the documentation as a site: `python docs/site/build_site.py [OUT]`, or `make docs`.

The pages stay what they are in the repository. They are copied with their places, so that links between them hold, and
Sphinx gets what GitHub does not need: the contents beside each page, from the lists of docs/README.md, and a page for
each folder that is linked to. A warning is an error. Neither the build nor the site asks anything of a network.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = (
    *("*.md", "docs/**/*.md", "docs/pictures/*", "benchmarks/results/*.md", "plugins/*.md"),
    *("benchmarks/*.py", "examples/*"),  # the pages link to some
)
LINK = re.compile(r"(\]\()([^()#\s:]+)((?:#[^()\s]*)?\))")


def stage(to: Path) -> None:
    """Copy the pages and what they link to into ``to``."""
    for pattern in PAGES:
        for path in filter(Path.is_file, ROOT.glob(pattern)):
            place = to / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    for page in to.rglob("*.md"):
        page.write_text(LINK.sub(partial(_to_page, page.parent), page.read_text()))
    home = to / "README.md"
    home.write_text(home.read_text() + contents((ROOT / "docs/README.md").read_text()))


def contents(index: str) -> str:
    """The contents beside each page: the sections of the page ``index`` of docs, with the pages that each links to."""
    lines = []
    for section in index.split("\n## ")[1:]:
        title, _, rest = section.partition("\n")
        pages = dict.fromkeys(re.findall(r"\]\(([^()#\s]+)\)", rest))
        places = [(ROOT / "docs" / one).resolve().relative_to(ROOT) for one in pages]
        names = [place.with_suffix("").as_posix() for place in places if place.suffix == ".md"]
        names += [f"{place.as_posix()}/index" for place in places if not place.suffix]
        lines += ["", "```{toctree}", ":hidden:", f":caption: {title}", "", *names, "```", ""]
    return "\n".join(lines)


def _to_page(at: Path, link: re.Match[str]) -> str:
    """A link of a page in the folder ``at``; one to a folder leads to a page that lists the pages in it."""
    folder = at / link[2]
    if not folder.is_dir():
        return link[0]
    index = folder / "index.md"
    if not index.exists():
        names = sorted(one.stem for one in folder.glob("*.md"))
        listed = ["```{toctree}", ":maxdepth: 1", "", *names, "```"]
        index.write_text("\n".join([f"# {folder.name.capitalize()}", "", *listed, ""]))
    return f"{link[1]}{link[2]}/index.md{link[3]}"


def build(out: Path) -> int:
    """Build the site in ``out``; the exit code of Sphinx."""
    from sphinx.cmd.build import main

    with tempfile.TemporaryDirectory() as place:
        staged = Path(place) / "pages"
        stage(staged)
        options = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "-d", str(Path(place) / "doctrees")]
        code = main([*options, "-b", "html", "-c", str(HERE), str(staged), str(out)])
    (out / "index.html").write_text('<meta http-equiv="refresh" content="0; url=README.html">\n')
    return code


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/site"))
