"""What each verb does in a sentence, with three examples: for ``autoloss --help`` and ``autoloss VERB --help``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: a line for the list of verbs, one sentence or more, three examples, and whether it composes keys."""

    line: str
    what: str
    examples: tuple[str, str, str]
    composes: bool = False

    def shown_examples(self) -> str:
        """The examples below each other."""
        return "\n".join(["Examples:", *(f"  {example}" for example in self.examples)])


VERBS = {
    "train": Verb(
        "train a model, or a sweep with -m: autoloss train -m weighting=equal,gradnorm seed=0,1,2",
        "Trains a model on the losses of a problem; with -m it trains one for each value of the keys with several.",
        (
            "autoloss train problem=two_digits weighting=gradnorm",
            "autoloss train problem=two_digits losses.left=focal losses.left.gamma=1 trainer.max_epochs=20",
            "autoloss train -m weighting=equal,gradnorm seed=0,1,2",
        ),
        composes=True,
    ),
    "search": Verb(
        "find the best weighting and weights, and confirm them: autoloss search search.n_trials=20",
        "Tries weightings and weights in short trainings, and confirms the best of them on fresh seeds.",
        (
            "autoloss search problem=two_digits search.n_trials=20",
            "autoloss search search.weightings=[fixed,gradnorm] search.timeout=30m",
            'autoloss search search.sampler=gp search.space.optimizer.lr="interval(1e-4,1e-2)"',
        ),
        composes=True,
    ),
    "compare": Verb(
        "compare choices over seeds, with a test: autoloss compare weighting=equal,gradnorm compare.seeds=5",
        "Trains every choice on the same seeds, and tests each one against a baseline.",
        (
            "autoloss compare weighting=equal,gradnorm compare.seeds=5",
            "autoloss compare losses.left=cross_entropy,focal",
            "autoloss compare weighting=gradnorm,dwa,equal compare.baseline=dwa",
        ),
        composes=True,
    ),
    "diagnose": Verb(
        "before training, measure a problem and get advice: autoloss diagnose problem=two_digits",
        "Measures a problem in short trainings, and says which weightings and losses suit it.",
        (
            "autoloss diagnose problem=two_digits",
            "autoloss diagnose problem=two_digits diagnose.runs=1 diagnose.epochs=2",
            "autoloss diagnose problem=helmholtz diagnose.lookahead=false",
        ),
        composes=True,
    ),
    "meta": Verb(
        "learn a weighting rule over problems: autoloss meta problems=[two_digits,tabular] unseen=mine:Mine",
        "Learns one weighting rule on several problems, and tests it on a problem that it has not seen.",
        (
            "autoloss meta problems=[helmholtz,burgers]",
            "autoloss meta problems=[helmholtz,burgers] unseen=wave",
            "autoloss meta problems=[helmholtz,burgers] unseen=wave meta.rounds=5 meta.seeds=5",
        ),
        composes=True,
    ),
    "distill": Verb(
        "turn a run's weights into a schedule for other runs: autoloss distill outputs/train/NAME/001",
        "Turns the weights of a run into a schedule for other runs.",
        (
            "autoloss distill outputs/train/two_digits/001",
            "autoloss distill outputs/train/two_digits/001 --out weights.yaml",
            "autoloss distill outputs/train/two_digits/001 --points 20 --smooth 0.1",
        ),
    ),
    "report": Verb(
        "write a page about a run, sweep, search or comparison: autoloss report outputs/train/...",
        "Writes report.html into each directory: of a run (also a killed one), a sweep, a search or a comparison.\n"
        "It is one file that needs no network. Runs inside a sweep or search that have no report get one too.",
        (
            "autoloss report outputs/train/two_digits/001",
            "autoloss report outputs/search/two_digits",
            "autoloss report outputs/train/*/*",
        ),
    ),
    "replay": Verb(
        "what other weightings would have chosen on a run: autoloss replay RUN_DIR weighting=gradnorm,nash_mtl",
        "Draws the weights that other weightings give for the losses of a run, from its record alone:\n"
        "RUN_DIR/replay.html.\n"
        "A weighting that compares gradients needs a run that recorded them (with such a weighting, or with "
        "record.probe_every).\n"
        "The losses are those of the run: with other weights, the run would have had other losses.",
        (
            "autoloss replay outputs/train/two_digits/001 weighting=uncertainty,dwa",
            "autoloss replay outputs/train/two_digits/001 weighting=dwa weighting.temperature=1",
            "autoloss replay outputs/train/digits_gan/001 weighting=dwa player=discriminator",
        ),
    ),
    "describe": Verb(
        "show what a component does: autoloss describe gradnorm",
        "Shows what a component does, and when to use it; of a name that several kinds have, each one.",
        (
            "autoloss describe gradnorm",
            "autoloss describe loss poisson",
            "autoloss describe weighting gradnorm --json",
        ),
    ),
    "plugins": Verb(
        "list every component and where it comes from; --json, --check",
        "Lists every component, and the package that it comes from; those of one kind with what they do and cost.",
        ("autoloss plugins", "autoloss plugins weighting", "autoloss plugins --check"),
    ),
}
