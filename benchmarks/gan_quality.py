"""How good the samples of `digits_gan` are, beside real digits and class means."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from autoloss.app.composition import composed
from autoloss.app.train_one import train
from autoloss.problems._digit_classifier import digit_classifier
from autoloss.problems._digit_games import spread
from autoloss.problems._digits import part
from autoloss.problems._frechet import frechet_distance

SEEDS = (0, 1, 2)


def quality() -> bool:
    """Print how good the samples are; whether every bar is met."""
    (images, labels), (real, of_real) = part("train"), part("test")
    means = torch.stack([images[labels == k].mean(0) for k in range(10)])[labels]
    with torch.no_grad():
        features = {name: digit_classifier()(x)[0] for name, x in (("train", images), ("test", real), ("means", means))}
    reference = frechet_distance(features["train"], features["test"])
    of_means = frechet_distance(features["means"], features["test"])
    print(
        "digits_gan, its defaults, samples against the real test digits; CPU time of one thread, which other work does "
        "not touch\n"
    )
    print(
        "| seed | Frechet distance | of real training digits | of class means | class accuracy | deviation "
        "| CPU seconds |"
    )
    print("|---|---|---|---|---|---|---|")
    good = True
    for seed in SEEDS:
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as directory:
            config = composed("train", ["problem=digits_gan", f"seed={seed}", "test=true"])
            summary = train(config, Path(directory))
        found = summary["test_metrics"]
        seconds = time.process_time() - begun
        accuracy = 1 - found["class_error"]
        row = [found["frechet"], reference, of_means, accuracy, found["deviation"], seconds]
        print(f"| {seed} | {row[0]:.1f} | {row[1]:.1f} | {row[2]:.1f} | {row[3]:.3f} | {row[4]:.2f} | {row[5]:.0f} |")
        close = found["frechet"] <= 3 * reference and found["frechet"] < of_means
        good &= close and accuracy >= 0.95 and found["deviation"] >= 0.6 and seconds <= 180
    own = float(spread(images, labels) / spread(real, of_real))
    print(f"\n(deviation: within a class, relative to the test digits'; that of the training digits is {own:.2f})")
    return good
