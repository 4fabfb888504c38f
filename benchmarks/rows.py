"""The rows of the quality tables: weightings with their overrides."""

from __future__ import annotations

EQUAL, SEARCHED = "equal", "search"
HALF, HALF_BALANCE = "half balance", ("weighting=auto", "weighting.keep=0", "weighting.decay=0.9")
EVERY_TENTH = "weighting.wrap=[{every_n:{n:10}}]"


def named(*names: str) -> dict[str, tuple[str, ...]]:
    """Rows that are a weighting with its defaults."""
    return {name: (f"weighting={name}",) for name in names}


def tenth(*names: str) -> dict[str, tuple[str, ...]]:
    """Rows that measure gradients at every tenth step."""
    return {name: (f"weighting={name}", EVERY_TENTH) for name in names}


# The order is the one in which rows are run.
PHYSICS = {
    **named(EQUAL),
    **tenth("lr_annealing", "auto"),
    HALF: (*HALF_BALANCE, EVERY_TENTH),
    **named("uncertainty"),
    "relobralo": ("weighting=relobralo", "weighting.temperature=0.1"),
    **named("imtl_l"),
    **tenth("gradnorm"),
    SEARCHED: (),
    **named("famo", "softadapt", "dwa"),
    **tenth("cagrad", "upgrad", "nash_mtl"),
    "lr_annealing (paper)": ("weighting=lr_annealing", "weighting.variant=paper", EVERY_TENTH),
}
FAMILIES = named(
    *(EQUAL, "uncertainty", "imtl_l", "gradnorm", "dwa", "famo", "relobralo", "geometric", "rlw"),
    *("cagrad", "nash_mtl", "upgrad", "mgda", "pcgrad", "auto_lambda", "learned"),
)
FEWER = {row: of for row, of in PHYSICS.items() if row not in ("dwa", "softadapt", "nash_mtl")}
FEWEST = {row: of for row, of in FEWER.items() if row not in ("relobralo", "famo", "lr_annealing (paper)")}
BALANCED = {**named("auto"), HALF: HALF_BALANCE}
# The rows of the tables with ten seeds.
CORE = {
    **named(EQUAL),
    **BALANCED,
    **named("uncertainty", "imtl_l", "gradnorm", "lr_annealing", "cagrad", "upgrad", "auto_lambda", "learned"),
    SEARCHED: (),
}
# Of left_right: those with three seeds.
FIRST_THREE = (
    *("search (free scale)", "fixed (from the search)", "fixed, 3.5 on right"),
    *(row for row in (*FAMILIES, "graddrop") if row not in CORE),
    *("left alone", "right alone"),
)
