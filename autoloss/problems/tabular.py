"""Any CSV file: several columns predicted from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.errors import check_known, require
from autoloss.core.problem import Branch, Outputs, Problem, Term
from autoloss.core.table import Anchor
from autoloss.problems._choice import check_kinds, chosen, markers, names_of
from autoloss.problems._column import Column
from autoloss.problems._data_card import DataCard
from autoloss.problems._group_column import GroupColumn
from autoloss.problems._inputs import InputColumns
from autoloss.problems._reading import Reading, reading_of
from autoloss.problems._saved_table import SavedTable, saved_table
from autoloss.problems._sheet import Sheet, read_sheet
from autoloss.problems._target import LOSSES, Target, target
from autoloss.problems._tensors import Batch, TensorTable, folds

MISSING = ("", "NA", "N/A", "nan", "null", "?")


class _Network(nn.Module):
    """A trunk of linear layers and ReLU, and a linear head for each target."""

    def __init__(self, width: int, hidden: Sequence[int], sizes: Mapping[str, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise([width, *hidden]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(hidden[-1], size) for size in sizes.values())
        self.names = tuple(sizes)

    def forward(self, inputs: Tensor, branch: Branch) -> tuple[Anchor, list[Tensor]]:
        features, anchor = branch(self.trunk(inputs))
        return anchor, [head(features[name]) for name, head in zip(self.names, self.heads, strict=True)]


class Tabular(Problem):
    """Predicts several columns of a CSV or Parquet file from the others, one loss for each.

    The first row names the columns. Numbers are standardised and text is one-hot, by the training
    rows alone. A missing number is 0, with an indicator if the training rows miss some; unknown
    text is all zeros. More than ten different dates are numbers of days. Text of which more than
    nine in ten cells are different is ignored, unless ``inputs`` or ``kinds`` names the column. A
    card says before training what each column is (``data.txt`` in the run's directory).

    A target is ``regression``, ``binary`` or ``multiclass``, with the loss
    ``mse``, ``binary_cross_entropy`` or ``cross_entropy`` and the metric ``<target>_mse`` (in
    squared deviations of the training labels: 1 is no better than their mean) or
    ``<target>_error`` (share of wrong classes). Labels may be missing; a row without any is left
    out. A loss has the name of its column, with ``_`` for what is no letter or digit.

    Args:
        csv: the file's path. Of a CSV file the encoding and the separator (``, ; tab |``) are found out.
        targets: names of the columns to predict.
        inputs: names of the columns to predict from; all others if empty.
        ignore: names of columns to leave out (numbers of rows, other outcomes).
        keys: names of columns whose values are groups of rows, for ``group_by``, ``losses.TERM.by`` and rules for
            samples; they are inputs too, unless ``ignore`` names them. Rows without a value are a group ``missing``.
        kinds: by column, the kind where the cells should not decide it. Targets: ``regression`` (they
            decide so for more than ten different numbers), ``binary`` (two different cells),
            ``multiclass``. Inputs: ``numeric``, ``categorical``, ``date``.
        hidden: widths of the trunk's layers, at least one.
        val: share of the rows for validation, above 0.
        test: share of the rows for the test split; 0 for none.
        split_seed: of the rows' order. The splits do not depend on the run's seed.
        missing: further cells that stand for no value, in upper or lower case, beside empty ones,
            ``NA``, ``N/A``, ``nan``, ``null`` and ``?``.
        not_missing: cells that are values although they are in that list (``NA`` for Namibia).
        encoding: of the CSV file (``latin-1``); ``auto`` finds out UTF-8 and UTF-16, and reads others as
            Windows-1252.
        decimal: the sign before decimals, ``.`` or ``,``; the other one may then separate thousands. ``auto`` finds
            out decimal commas, column by column, where the file is not separated by commas.

    Raises :class:`ConfigError` for a file or column that cannot be used, with the line that is wrong.
    """

    saved: SavedTable | None = None  # of a problem that was restored from a saved model
    inputs: InputColumns
    reads_files = True
    keyed = "problem.keys=[KEY] to take the values of a column"
    keys: Sequence[GroupColumn] = ()
    recipe = {"optimizer": {"lr": 0.003}, "batch_size": 64, "threads": 1, "trainer": {"max_epochs": 30}}
    use = "Your own table: name the file and the columns to predict."
    avoid = "Rows belong together (of one patient, of one day): random splits then leak. Write a problem of your own."
    citation = "folklore (multi-task perceptron)"

    def __init__(
        self,
        csv: str,
        targets: str | Sequence[str | int],
        inputs: str | Sequence[str | int] = [],
        ignore: str | Sequence[str | int] = [],
        keys: str | Sequence[str | int] = [],
        kinds: Mapping[str, str] = {},
        hidden: Sequence[int] = [64, 64],
        val: float = 0.2,
        test: float = 0.2,
        split_seed: int = 0,
        missing: str | Sequence[str | float] = [],
        not_missing: str | Sequence[str | float] = [],
        encoding: str = "auto",
        decimal: str = "auto",
    ) -> None:
        super().__init__()
        require(
            len(hidden) > 0 and all(isinstance(width, int) and width > 0 for width in hidden),
            "`hidden` must have widths of at least 1",
            f"hidden={list(hidden)}",
        )
        shares = isinstance(val, (int, float)) and isinstance(test, (int, float)) and val > 0 and 0 <= test < 1 - val
        require(shares, "`val` must be above 0, `test` at least 0 and their sum below 1", f"val={val}, test={test}")
        require(isinstance(split_seed, int), "`split_seed` must be a whole number", f"split_seed={split_seed}")
        require(decimal in ("auto", ".", ","), "`decimal` must be '.', ',' or auto", f"it is {decimal!r}")
        sheet = self.sheet(csv, encoding)
        predicted, known = chosen(sheet.columns, names_of(targets), names_of(inputs), names_of(ignore))
        self.kinds = {str(name): kind for name, kind in kinds.items()}
        check_kinds(self.kinds, sheet.columns, predicted)
        self.missing = (markers(MISSING) | markers(missing)) - markers(not_missing)
        check_known("column", names_of(keys), sheet.columns)
        self.readings = {name: self._reading(sheet, name, decimal) for name in [*predicted, *known, *names_of(keys)]}
        self.keys = [GroupColumn.of(self.column(sheet, name)) for name in names_of(keys)]
        self.groups = {key.name: key.groups for key in self.keys}
        self.hidden = tuple(hidden)
        answers = [self.column(sheet, name) for name in predicted]
        self.targets = [target(answer, self.kinds.get(answer.name)) for answer in answers]
        names = [t.term for t in self.targets]
        require(len(set(names)) == len(names), "Targets must give distinct names of losses", f"they give {names}")
        self.terms = {t.term: LOSSES[t.kind] for t in self.targets}
        self.metrics = {t.metric: "min" for t in self.targets}
        labelled = torch.stack([t.present for t in self.targets]).any(0).nonzero().squeeze(1)
        self.splits = self.split(labelled, val, test, split_seed)
        _check_labels(self.targets, self.splits)
        columns = [self.column(sheet, name) for name in known]
        named = {*names_of(inputs), *self.kinds}
        ignored = {
            column.name: f"text with {len(column.distinct)} different values in {int(column.present.sum())} rows"
            for column in columns
            if column.identifies and column.name not in named
        }
        columns = [column for column in columns if column.name not in ignored]
        require(
            len(columns) > 0,
            "There must be inputs that are not different in every row",
            f"{', '.join(map(repr, ignored))} has {' and '.join(ignored.values())}",
            "Add other columns; or, if it should be one-hot, set `kinds` of it to categorical.",
        )
        self.inputs = InputColumns(columns, self.kinds, self.splits["train"])
        self.width = self.inputs.width
        self._card = DataCard(
            sheet,
            self.splits,
            list(zip(columns, self.inputs.parts, strict=True)),
            {**dict.fromkeys(names_of(ignore), "as was said"), **ignored},
            list(zip(answers, self.targets, strict=True)),
            self.readings,
            self.kinds,
        )

    def sheet(self, csv: str, encoding: str) -> Sheet:
        """The table of the file ``csv``; a subclass may have one of its own."""
        return read_sheet(str(csv), encoding)

    def column(self, sheet: Sheet, name: str) -> Column:
        """The column ``name`` of a ``sheet``, its cells read as those of this problem's own file."""
        reading = self.readings[name]
        cells = sheet.columns[name]
        read: dict[str, str | None] = {} if reading.plain else {cell: reading.cell(cell) for cell in set(cells)}
        read |= dict.fromkeys(cell for cell in set(cells) if cell.lower() in self.missing)
        return Column(name, [read.get(cell, cell) for cell in cells], sheet.lines)

    def _reading(self, sheet: Sheet, name: str, decimal: str) -> Reading:
        cells = [cell for cell in dict.fromkeys(sheet.columns[name]) if cell.lower() not in self.missing]
        return reading_of(cells, sheet.delimiter, decimal, self.kinds.get(name))

    def data_card(self) -> str:
        return self._card.text()

    def constant_metrics(self) -> Mapping[str, float]:
        return {t.metric: t.constant(self.splits["train"], self.splits["val"])[1] for t in self.targets}

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        require(bool(self.splits), "A table must be read to train", "a loaded model holds none", "Build the problem.")
        return self._tables(self.splits)

    def split(self, rows: Tensor, val: float, test: float, seed: int) -> dict[str, Tensor]:
        """The rows of each split, from ``rows``, which have a label; a subclass may have splits of its own."""
        order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
        sizes = {"val": round(len(rows) * val), "test": round(len(rows) * test)}
        sizes = {"train": len(rows) - sum(sizes.values()), **sizes}
        parts = dict(zip(sizes, order.split(list(sizes.values())), strict=True))
        return {name: part for name, part in parts.items() if name != "test" or test > 0}

    def folds(self, count: int, seed: int) -> list[Mapping[str, TensorTable]]:
        """The datasets of a ``count``-fold cross-validation: train and val are split anew, test stays.

        Everything is standardised by the fold's own training rows.
        """
        rows = torch.cat([self.splits["train"], self.splits["val"]])
        splits = [{**self.splits, "train": train, "val": val} for train, val in folds(rows, count, seed)]
        for fold in splits:
            _check_labels(self.targets, fold)
        return [self._tables(fold) for fold in splits]

    def network(self) -> nn.Module:
        return _Network(self.width, self.hidden, {t.term: t.size for t in self.targets})

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        anchor, predictions = network(batch["inputs"], self.branch)
        terms = {
            t.term: Term(prediction, batch[f"target {t.term}"], batch.get(f"present {t.term}"))
            for t, prediction in zip(self.targets, predictions, strict=True)
        }
        return Outputs(terms, anchor=anchor, keys={key.name: batch[key.name] for key in self.keys})

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        found = {}
        for t in self.targets:
            term = outputs.term(t.term)
            wrong = t.wrong(term.prediction, term.target)
            found[t.metric] = wrong if term.mask is None else wrong[term.mask]
        return found

    def rows(self, outputs: Outputs) -> Mapping[str, Tensor | None]:
        return {t.metric: outputs.term(t.term).mask for t in self.targets}

    def saved_state(self) -> Mapping[str, Any]:
        if self.saved is not None:
            return self.saved.plain()
        fit = self.splits["train"]
        return saved_table(self.inputs, self.targets, fit, self.hidden, self.missing, self.readings).plain()

    @classmethod
    def restored(cls, state: Mapping[str, Any], parameters: Mapping[str, Any]) -> Tabular:
        """The problem without its data; a subclass whose network needs more than ``state`` writes its own."""
        made = cls.__new__(cls)
        Problem.__init__(made)
        made.saved = saved = SavedTable.read(state)
        made.hidden, made.targets, made.width = tuple(saved.hidden), [t.plain for t in saved.targets], saved.width
        made.terms = {t.term: LOSSES[t.kind] for t in made.targets}
        made.metrics = {t.metric: "min" for t in made.targets}
        made.splits = {}
        return made

    def predict(self, network: nn.Module, samples: Any) -> Mapping[str, Sequence[Any]]:
        """The predicted columns for a CSV file's path, or for cells by the name of their column."""
        return SavedTable.read(self.saved_state()).predict(network, self.branch, samples)

    def _tables(self, splits: Mapping[str, Tensor]) -> dict[str, TensorTable]:
        fit, tables = splits["train"], {}
        for split, rows in splits.items():
            columns = {"inputs": self.inputs.encoded(fit, rows)}
            columns |= {key.name: key.codes[rows] for key in self.keys}
            for t in self.targets:
                columns[f"target {t.term}"] = t.encoded(fit, rows)
                if not t.present.all():
                    columns[f"present {t.term}"] = t.present[rows]
            tables[split] = TensorTable(**columns)
        return tables


def _check_labels(targets: Sequence[Target], splits: Mapping[str, Tensor]) -> None:
    """Raise unless every split has labels of every target, and the training rows different ones."""
    for split, rows in splits.items():
        for t in targets:
            labels = t.labels[rows][t.present[rows]].unique()
            least = 2 if split == "train" else 1
            require(
                len(labels) >= least,
                f"The {split} split must have {'different labels' if least > 1 else 'a label'} of each target",
                f"its {len(rows)} rows have {'one' if len(labels) else 'none'} of {t.name!r}",
                "Give more rows, or other shares of them.",
            )
