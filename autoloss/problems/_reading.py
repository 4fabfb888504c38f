"""How the cells of a column are written: with decimal commas, as dates."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from autoloss.problems._column import FEW, number_in

ORDERS = {"ymd": "year month day", "dmy": "day month year", "mdy": "month day year"}
_DATE = re.compile(
    r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})"
    r"(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6})\d*)?)?(?: ?(Z|[+-]\d{2}:?\d{2}))?)?"
)
_WITH_COMMA = re.compile(r"[+-]?(?=[\d,])(?:\d{1,3}(?:\.\d{3})+|\d*)(?:,\d+)?(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_UNCLEAR = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
FIRST = 1000  # different cells among which there must be a date, so that other columns need not be searched
EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a column: its decimal sign, and the order of the parts of its dates (empty if it has none).

    ``doubt`` says what else the cells could be; it is empty where there is no doubt.
    """

    decimal: str = "."
    thousands: bool = False
    order: str = ""
    doubt: str = ""

    @property
    def plain(self) -> bool:
        """Whether every cell stays as it is."""
        return self.decimal == "." and not self.thousands and not self.order

    def cell(self, text: str) -> str:
        """``text`` as numbers are written here; other text stays as it is. A date is its days since 1970."""
        if self.order:
            days = days_of(text, self.order)
            return text if days is None else repr(days)
        if self.decimal == "," and "," in text and _WITH_COMMA.fullmatch(text):
            return text.replace(".", "").replace(",", ".")
        if self.decimal == "," and re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+", text):
            return text.replace(".", "")
        if self.thousands and _THOUSANDS.fullmatch(text):
            return text.replace(",", "")
        return text


def reading_of(cells: Collection[str], delimiter: str, decimal: str = "auto", kind: str | None = None) -> Reading:
    """How a column with the different ``cells`` is written.

    Numbers have decimal commas if all, or most of many, are numbers with them, and the file is not separated by
    commas; ``decimal`` (``,`` or ``.``) says it for every file. More than ten different dates are dates, fewer are
    classes. ``kind`` is what the user said of the column.
    """
    if kind in ("categorical", "binary", "multiclass") or not cells:
        return Reading()
    commas = _commas(cells, delimiter, decimal)
    if commas is not None:
        return commas
    if kind == "numeric" or (kind != "date" and len(cells) <= FEW):
        return Reading()
    if not any(map(_DATE.fullmatch, islice(cells, FIRST))):
        return Reading()
    if not _most(cells, (_DATE.fullmatch(cell) is not None for cell in cells)):
        return Reading()
    counts = {order: sum(days_of(cell, order) is not None for cell in cells) for order in ORDERS}
    fitting = [order for order, count in counts.items() if count == max(counts.values()) > 0]
    if not fitting:
        return Reading()
    if len(fitting) == 1:
        return Reading(order=fitting[0])
    order = "mdy" if any("/" in cell for cell in cells) else "dmy"
    other = "dmy" if order == "mdy" else "mdy"
    return Reading(order=order, doubt=f"its dates were read as {ORDERS[order]}, and could be {ORDERS[other]}")


def _commas(cells: Collection[str], delimiter: str, decimal: str) -> Reading | None:
    """How a column of numbers with commas is written; ``None`` for another column."""
    commas = [cell for cell in cells if "," in cell]
    if not commas:
        return None
    if decimal == ".":
        return Reading(thousands=True) if _most(cells, (_is_number(cell, _THOUSANDS) for cell in cells)) else None
    if not _most(cells, (_is_number(cell, _WITH_COMMA) for cell in cells)):
        return None
    if decimal == "auto" and delimiter == ",":
        return Reading(doubt="read as text, and could be numbers with commas: set `problem.decimal` to ',' or '.'")
    unclear = decimal == "auto" and all(_UNCLEAR.fullmatch(cell) for cell in commas)
    doubt = "its commas were read as decimal signs, and could separate thousands: then set `problem.decimal` to '.'"
    return Reading(decimal=",", doubt=doubt if unclear else "")


def _is_number(cell: str, form: re.Pattern[str]) -> bool:
    return form.fullmatch(cell) is not None or number_in(cell) is not None


def _most(cells: Collection[str], fit: Iterable[bool]) -> bool:
    """Whether all cells fit, or more than half of many: then another cell is a mistake in the column."""
    count = sum(fit)
    return count == len(cells) or (count > FEW and 2 * count > len(cells))


def days_of(text: str, order: str) -> float | None:
    """The days from 1970 to the date in ``text``, with the time of day as a fraction; ``None`` if it is no date.

    A time with an offset is taken to UTC.

    >>> days_of("1970-01-02 12:00", "ymd"), days_of("2.1.1970", "dmy"), days_of("30.2.2020", "dmy")
    (1.5, 1.0, None)
    """
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    parts = dict(zip(order, found.group(1, 3, 4), strict=True))
    if len(parts["y"]) != 4:
        return None
    hour, minute, second = (int(part or 0) for part in found.group(5, 6, 7))
    fraction = int((found[8] or "").ljust(6, "0"))
    try:
        moment = datetime(int(parts["y"]), int(parts["m"]), int(parts["d"]), hour, minute, second, fraction)
    except ValueError:
        return None
    zone = found[9]
    if zone and zone != "Z":
        digits = zone[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        moment = moment - offset if zone[0] == "+" else moment + offset
    return (moment - EPOCH) / timedelta(days=1)
