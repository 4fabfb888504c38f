"""What the quality benchmarks train, and the rows that others published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sheets import TARGETS

EQUAL, SEARCHED = "equal", "search"
SKLEARN = "sklearn"  # data that sheets.py writes
HALF, HALF_BALANCE = "half balance", ("weighting=auto", "weighting.keep=0", "weighting.decay=0.9")
EVERY_TENTH = "weighting.wrap=[{every_n:{n:10}}]"


@dataclass(frozen=True)
class Protocol:
    """A problem, the weightings that are tried on it, and published results.

    ``settings`` are overrides that every row has, ``{data}`` in them the directory of the data. ``ratio``: errors are
    compared by their ratio, else by the mean relative improvement over equal weights. ``single`` names, for a metric,
    the row that trains on that loss alone. ``search`` are the overrides of the search whose winner is a row. The rows
    ``fewer`` are trained on the first three seeds alone, and have a table and a correction of their own.
    """

    title: str
    settings: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    notes: str
    seeds: tuple[int, ...] = tuple(range(10))
    data: str = ""
    ratio: bool = False
    published: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    single: Mapping[str, str] = field(default_factory=dict)
    search: tuple[str, ...] = ()
    fewer: tuple[str, ...] = ()

    def seeds_of(self, row: str) -> tuple[int, ...]:
        """The seeds that a row is trained on."""
        return self.seeds[:3] if row in self.fewer else self.seeds


def named(*names: str) -> dict[str, tuple[str, ...]]:
    """Rows that are a weighting with its defaults."""
    return {name: (f"weighting={name}",) for name in names}


def tenth(*names: str) -> dict[str, tuple[str, ...]]:
    """Rows that measure gradients at every tenth step."""
    return {name: (f"weighting={name}", EVERY_TENTH) for name in names}


# The rows of every table, in the order in which they are run.
FIRST = (EQUAL, "uncertainty", "imtl_l", "gradnorm", "cagrad", "upgrad")
CORE = {
    **named(*FIRST),
    "lr_annealing": ("weighting=lr_annealing",),
    **named("auto"),
    HALF: HALF_BALANCE,
    SEARCHED: (),
    **named("auto_lambda", "learned"),
}
AT_PARAMETERS = {
    **named(EQUAL),
    **tenth("lr_annealing"),
    **named("uncertainty"),
    **tenth("gradnorm"),
    **tenth("auto"),
    HALF: (*HALF_BALANCE, EVERY_TENTH),
    **named("imtl_l"),
    **tenth("cagrad", "upgrad"),
    SEARCHED: (),
    "relobralo": ("weighting=relobralo", "weighting.temperature=0.1"),
    **named("famo"),
    "lr_annealing (paper)": ("weighting=lr_annealing", "weighting.variant=paper", EVERY_TENTH),
    **named("auto_lambda", "learned"),
}
OTHERS = ("dwa", "famo", "relobralo", "geometric", "rlw", "nash_mtl", "mgda", "pcgrad", "graddrop")
SHORT = ("optimizer.lr=0.003", "trainer.max_epochs=40", "trainer.check_val_every_n_epoch=40")
PINN_NOTES = (
    "tanh layers of width 50, 4,000 steps of Adam (0.003, cosine decay) at 128 points of each kind, where the papers "
    "take 40,000: a factor holds for this budget. Weightings that measure gradients do so at all parameters, at "
    "every tenth step."
)
PINN_SEARCH = (
    *("search.weightings=[fixed,uncertainty]", "search.decades=4", "search.n_trials=10"),
    *("search.confirm=0", "seed=100"),
)
MNIST_NOTES = (
    "LeNet without dropout, 10,000 training images, 16 epochs of Adam with cosine decay, batch 256; no epoch is "
    "selected, validation has no say. The published protocol has five times as many images and more epochs."
)
HELD_OUT = " `auto_lambda` and `learned` learn their weights with their defaults (see docs/methods.md)."
WEIGHED = ("search.weightings=[fixed,uncertainty,gradnorm,imtl_l]", "search.confirm=0", "seed=100")
WANG = "Wang, Teng, Perdikaris 2021: relative L2 error after 40,000 steps, one run"


def table(name: str, words: str) -> Protocol:
    """A table of scikit-learn."""
    targets = ",".join(TARGETS[name])
    return Protocol(
        f"scikit-learn's {name}: {len(TARGETS[name])} columns from the others",
        ("problem=tabular", f"problem.csv={{data}}/{name}.csv", f"problem.targets=[{targets}]", *ONCE),
        CORE,
        f"{words} A trunk of two layers of 64, 30 epochs of Adam, batch 64; fixed splits.",
        data=SKLEARN,
        search=(*WEIGHED, "search.n_trials=32"),
    )


ONCE = ("trainer.check_val_every_n_epoch=30",)
PROTOCOLS = {
    "two_digits": Protocol(
        "Two digits in one picture: classify both, redraw the picture",
        ("problem=two_digits", "trainer.check_val_every_n_epoch=40"),
        CORE | named(*OTHERS),
        "scikit-learn's digits, a trunk of two layers, 40 epochs of Adam; no epoch is selected." + HELD_OUT,
        search=(*WEIGHED, "search.n_trials=32"),
        fewer=OTHERS,
    ),
    "diabetes": table("diabetes", "A number, the body mass index, and the sex."),
    "wine": table("wine", "Three classes and three measurements."),
    "breast_cancer": table("breast_cancer", "A diagnosis and three measurements."),
    "helmholtz": Protocol(
        "Helmholtz' equation by a physics-informed network",
        ("problem=helmholtz", *SHORT),
        AT_PARAMETERS,
        f"Three {PINN_NOTES}",
        ratio=True,
        published={EQUAL: "1.06e-1", "lr_annealing": "1.12e-2"},
        source=WANG,
        search=PINN_SEARCH,
    ),
    "poisson": Protocol(
        "Poisson's equation by a physics-informed network",
        ("problem=poisson", *SHORT),
        AT_PARAMETERS,
        f"Three {PINN_NOTES}",
        ratio=True,
        search=PINN_SEARCH,
    ),
    "klein_gordon": Protocol(
        "The Klein-Gordon equation by a physics-informed network",
        ("problem=klein_gordon", *SHORT),
        AT_PARAMETERS,
        f"Five {PINN_NOTES}",
        ratio=True,
        published={EQUAL: "1.79e-1", "lr_annealing": "1.06e-2"},
        source=WANG,
        search=PINN_SEARCH,
    ),
    "burgers": Protocol(
        "Burgers' equation by a physics-informed network",
        ("problem=burgers", "problem.data={data}", *SHORT),
        AT_PARAMETERS,
        f"Four {PINN_NOTES} The reference solution is that of Raissi's PINNs repository.",
        data="pinn",
        ratio=True,
        published={EQUAL: "1.2e-3 (hand-tuned)", "gradnorm": "2.0e-3", "lr_annealing": "1.6e-4"}
        | {"relobralo": "1.4e-4"},
        source="Bischof, Kraus 2021: validation error",
        search=PINN_SEARCH,
    ),
    "left_right": Protocol(
        "Multi-MNIST: classify the left digit, reconstruct the right one",
        ("problem=multi_mnist:LeftRight", "problem.data={data}", "trainer.check_val_every_n_epoch=16"),
        {
            **CORE,
            "left alone": ("weighting=fixed", "weighting.weights={left:1,right:0}"),
            "right alone": ("weighting=fixed", "weighting.weights={left:0,right:1}"),
            **named(*OTHERS),
        },
        MNIST_NOTES + HELD_OUT,
        fewer=OTHERS,
        data="mnist",
        search=(*WEIGHED, "search.n_trials=16"),
        single={"left_error": "left alone", "right_mse": "right alone"},
        published={EQUAL: "-1.04, -16.86, -8.95", "uncertainty": "-1.11, -26.30, -13.70"}
        | {"geometric": "-0.96, -27.47, -14.21", "rlw": "-1.10, -18.53, -9.82", "pcgrad": "-1.04, -15.36, -8.20"}
        | {"mgda": "-1.45, -11.26, -6.35", "famo": "-4.59, -0.75, -2.67", "cagrad": "-1.69, -2.59, -2.14"}
        | {
            "nash_mtl": "-1.70, -4.43, -3.06",
            "auto_lambda": "-1.23, -7.19, -4.21",
            "graddrop": "-1.08, -22.04, -11.56",
        },
        source="Gama, Grassi 2025, table 3: change of accuracy, of reconstruction, and their mean, in %, against "
        "single tasks; their RLW draws normal weights, ours Dirichlet ones",
    ),
    "both_digits": Protocol(
        "Multi-MNIST: classify both digits (control: methods should tie)",
        ("problem=multi_mnist:BothDigits", "problem.data={data}", "trainer.check_val_every_n_epoch=16"),
        {row: of for row, of in CORE.items() if row != SEARCHED} | named("mgda", "pcgrad", "rlw", "graddrop"),
        MNIST_NOTES,
        seeds=tuple(range(5)),
        fewer=("mgda", "pcgrad", "rlw", "graddrop"),
        data="mnist",
        published={
            EQUAL: ".9476 +- .0044",
            "mgda": ".9478 +- .0020",
            "pcgrad": ".9479 +- .0036",
            "rlw": ".9430 +- .0030",
            "graddrop": ".9347 +- .0128",
        },
        source="Kurin et al. 2022: mean accuracy of both digits, 10 runs of 100 epochs on 50,000 images",
    ),
    "adult": Protocol(
        "Adult: income, marriage and education from one trunk",
        ("problem=adult:Adult", "problem.data={data}", "trainer.check_val_every_n_epoch=8"),
        {row: of for row, of in CORE.items() if row != SEARCHED} | named(*OTHERS),
        "A trunk 81-64-64 with three heads, 8 epochs of Adam (0.002, cosine decay), batch 256." + HELD_OUT,
        data="adult",
        fewer=OTHERS,
        source="no trusted table of weightings is published",
    ),
}
