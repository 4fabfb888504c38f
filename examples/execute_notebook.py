"""Runs a notebook in an empty directory and writes what its cells show into it: `python examples/execute_notebook.py`.

`quickstart.ipynb` is kept as executed; a test executes it again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

QUICKSTART = Path(__file__).with_name("quickstart.ipynb")


def executed(path: Path, directory: Path, timeout: float = 600) -> nbformat.NotebookNode:
    """The notebook ``path`` as it is after its cells have run in ``directory``; an error of a cell is raised.

    What a cell prints is one text, and warnings of the libraries (``stderr``), which name places on this machine, are
    left out.
    """
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(directory)}}
    NotebookClient(notebook, timeout=timeout, record_timing=False, resources=where).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _tidy(cell.outputs)
    return notebook


def _tidy(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    printed = "".join(one.text for one in outputs if one.output_type == "stream" and one.name == "stdout")
    shown = [one for one in outputs if one.output_type != "stream"]
    return [*([nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []), *shown]


if __name__ == "__main__":
    for place in [Path(one) for one in sys.argv[1:]] or [QUICKSTART]:
        with tempfile.TemporaryDirectory() as empty:
            nbformat.write(executed(place, Path(empty)), place)
