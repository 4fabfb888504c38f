"""What the quality benchmarks train, and the rows that others published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rows import BALANCED, CORE, EQUAL, FAMILIES, FEWER, FEWEST, FIRST_THREE, PHYSICS, SEARCHED, named
from sheets import TARGETS

SKLEARN = "sklearn"  # data that sheets.py writes


@dataclass(frozen=True)
class Protocol:
    """A problem, the weightings that are tried on it, and published results.

    ``settings`` are overrides that every row has, ``{data}`` in them the directory of the data. ``ratio``: errors are
    compared by their ratio, else by the mean relative improvement over equal weights. ``single`` names, for a metric,
    the row that trains on that loss alone. ``search`` are the overrides of the search whose winner is a row. The rows
    ``fewer`` are trained on the first three seeds alone, and have a correction of their own.
    """

    title: str
    settings: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    notes: str
    seeds: tuple[int, ...] = (0, 1, 2)
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


TEN = tuple(range(10))
SHORT = (
    *("optimizer.lr=0.003", "trainer.max_epochs=40", "trainer.check_val_every_n_epoch=40"),
    "+optimizer.fused=true",
)
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
HELD_OUT = " `auto_lambda` and `learned` keep a tenth of the training data for their weights."

WEIGHED = (
    *("search.weightings=[fixed,uncertainty,gradnorm,imtl_l]", "search.n_trials=32", "search.confirm=0", "seed=100"),
)


def table(name: str, words: str) -> Protocol:
    """A table of scikit-learn."""
    targets = ",".join(TARGETS[name])
    return Protocol(
        f"scikit-learn's {name}: {len(TARGETS[name])} columns from the others",
        (
            *("problem=tabular", f"problem.csv={{data}}/{name}.csv", f"problem.targets=[{targets}]"),
            "problem.split_seed=${seed}",
            "trainer.check_val_every_n_epoch=30",
        ),
        CORE,
        f"{words} A trunk of two layers of 64, 30 epochs of Adam, batch 64. Each seed has a split of its own.",
        seeds=TEN,
        data=SKLEARN,
        search=WEIGHED,
    )


PROTOCOLS = {
    "two_digits": Protocol(
        "Two digits in one picture: classify both, redraw the picture",
        ("problem=two_digits", "trainer.check_val_every_n_epoch=40"),
        {**CORE, "equal, rising": ("weighting=auto", "weighting.norm=0")},
        "scikit-learn's digits, a trunk of two layers, 60 epochs of Adam; no epoch is selected." + HELD_OUT,
        seeds=TEN,
        search=WEIGHED,
    ),
    "diabetes": table("diabetes", "A number, the body mass index, and the sex."),
    "wine": table("wine", "Three classes and three measurements."),
    "breast_cancer": table("breast_cancer", "A diagnosis and three measurements."),
    "helmholtz": Protocol(
        "Helmholtz' equation by a physics-informed network",
        ("problem=helmholtz", *SHORT),
        PHYSICS,
        f"Three {PINN_NOTES}",
        ratio=True,
        published={EQUAL: "1.06e-1", "lr_annealing": "1.12e-2"},
        source="Wang, Teng, Perdikaris 2021: relative L2 error after 40,000 steps, one run",
        seeds=TEN,
        search=PINN_SEARCH,
    ),
    "helmholtz_long": Protocol(
        "Helmholtz' equation, trained four times as long",
        ("problem=helmholtz", *SHORT[:1], "trainer.max_epochs=160", "trainer.check_val_every_n_epoch=160", *SHORT[3:]),
        {row: PHYSICS[row] for row in (EQUAL, "lr_annealing")},
        "As helmholtz, with 16,000 steps: does the difference stay when there is more time?",
        ratio=True,
        published={EQUAL: "1.06e-1", "lr_annealing": "1.12e-2"},
        source="Wang, Teng, Perdikaris 2021: relative L2 error after 40,000 steps, one run",
    ),
    "allen_cahn": Protocol(
        "The Allen-Cahn equation by a physics-informed network: weights of points",
        ("problem=allen_cahn", "trainer.max_epochs=2500", "trainer.check_val_every_n_epoch=500"),
        {
            EQUAL: ("sample_weighting=uniform",),
            "rba (points)": ("sample_weighting=rba",),
            "causal (points)": ("sample_weighting=causal",),
        },
        "Three hidden layers of 32, five waves in x, 4,096 kept points, 20,000 steps of Adam with batches of 512, the "
        "initial condition times 100 in every row. The losses have equal weights; the rows differ in the weights of "
        "the points.",
        ratio=True,
        source="Anagnostopoulos et al. 2024 (rba), Wang et al. 2024 (causal): 300,000 steps and more",
    ),
    "allen_cahn_long": Protocol(
        "The Allen-Cahn equation, trained twice as long",
        ("problem=allen_cahn", "trainer.max_epochs=5000", "trainer.check_val_every_n_epoch=1000"),
        {EQUAL: ("sample_weighting=uniform",), "rba (points)": ("sample_weighting=rba",)},
        "As allen_cahn, with 40,000 steps.",
        ratio=True,
        source="Anagnostopoulos et al. 2024: 300,000 steps",
    ),
    "klein_gordon": Protocol(
        "The Klein-Gordon equation by a physics-informed network",
        ("problem=klein_gordon", *SHORT),
        FEWER,
        f"Five {PINN_NOTES}",
        ratio=True,
        published={EQUAL: "1.79e-1", "lr_annealing": "1.06e-2"},
        source="Wang, Teng, Perdikaris 2021: relative L2 error after 40,000 steps, one run",
        seeds=TEN,
        search=PINN_SEARCH,
    ),
    "burgers": Protocol(
        "Burgers' equation by a physics-informed network",
        ("problem=burgers", "problem.data={data}", *SHORT),
        FEWER,
        f"Four {PINN_NOTES} The reference solution is that of Raissi's PINNs repository.",
        data="pinn",
        ratio=True,
        published={EQUAL: "1.2e-3 (hand-tuned)", "gradnorm": "2.0e-3", "lr_annealing": "1.6e-4"}
        | {"relobralo": "1.4e-4"},
        source="Bischof, Kraus 2021: validation error",
        seeds=TEN,
        search=PINN_SEARCH,
    ),
    "poisson": Protocol(
        "Poisson's equation by a physics-informed network",
        ("problem=poisson", *SHORT),
        FEWEST,
        f"Three {PINN_NOTES}",
        ratio=True,
        seeds=TEN,
        search=PINN_SEARCH,
    ),
    "digits_vae_gan": Protocol(
        "A VAE with an adversary on scikit-learn's digits: four losses of the generator",
        ("problem=digits_vae_gan", "trainer.max_epochs=60", "trainer.check_val_every_n_epoch=60"),
        {
            **named(EQUAL),
            **BALANCED,
            **named("uncertainty", "imtl_l", "gradnorm", "vqgan", "balancer"),
        },
        "60 epochs of Adam, batch 64. Distances are measured on digits that are drawn from noise.",
        seeds=TEN,
    ),
    "left_right": Protocol(
        "Multi-MNIST: classify the left digit, reconstruct the right one",
        ("problem=multi_mnist:LeftRight", "problem.data={data}", "trainer.check_val_every_n_epoch=16"),
        {
            EQUAL: ("weighting=equal",),
            # The winner (its scale was free) and the best fixed weights of results/left_right_search.md.
            "search (free scale)": ("weighting=uncertainty", "weighting.lr=0.0979"),
            SEARCHED: (),
            "fixed (from the search)": ("weighting=fixed", "weighting.weights={left:1.68,right:0.315}"),
            "fixed, 3.5 on right": ("weighting=fixed", "weighting.weights={left:1,right:3.5}"),
            **{name: of for name, of in FAMILIES.items() if name != EQUAL},
            **BALANCED,
            **named("lr_annealing", "graddrop"),
            "left alone": ("weighting=fixed", "weighting.weights={left:1,right:0}"),
            "right alone": ("weighting=fixed", "weighting.weights={left:0,right:1}"),
        },
        MNIST_NOTES + HELD_OUT,
        seeds=tuple(range(10000, 10010)),
        fewer=FIRST_THREE,
        data="mnist",
        search=("search.weightings=[fixed,uncertainty,gradnorm,imtl_l]", "search.n_trials=16", "search.confirm=0"),
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
        {
            **named(EQUAL, "uncertainty", "imtl_l", "gradnorm", "famo", "cagrad", "mgda", "pcgrad", "rlw", "graddrop"),
            **BALANCED,
        },
        MNIST_NOTES,
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
        {**FAMILIES, **BALANCED},
        "A trunk 81-64-64 with three heads, 8 epochs of Adam (0.002, cosine decay), batch 256." + HELD_OUT,
        data="adult",
        source="no trusted table of weightings is published",
    ),
}
