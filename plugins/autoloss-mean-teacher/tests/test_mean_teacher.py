from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from autoloss_mean_teacher.few_labels import FewLabels
from autoloss_mean_teacher.mean_teacher import MeanTeacher

from autoloss import ConfigError
from autoloss.testing import ModuleSuite


class Small(FewLabels):
    """Few images, and little of each epoch."""

    def datasets(self, seed):
        return {split: torch.utils.data.Subset(data, range(96)) for split, data in super().datasets(seed).items()}


class Unnamed(FewLabels):
    """Has no term for the agreement."""

    terms = {"label": "cross_entropy"}


class TestMeanTeacher(ModuleSuite):
    """Everything that a run expects of a module."""

    batch_size = 32
    problem = Small
    wrong_problem = Unnamed

    def builder(self):
        return MeanTeacher(decay=0.9)


def test_the_teacher_is_the_moving_average_of_the_student(tmp_path) -> None:
    suite = TestMeanTeacher()
    module = suite.module()
    start = [p.clone() for p in module.network.parameters()]
    seen: list[list[torch.Tensor]] = []
    step = module.optimizer_step

    def noted(*args, **kwargs):
        step(*args, **kwargs)
        seen.append([p.detach().clone() for p in module.network.parameters()])

    module.optimizer_step = noted
    suite.fit(module, tmp_path)
    # The first step's average is its copy; from then on it moves by a tenth.
    expected = seen[0]
    for parameters in seen[1:]:
        expected = [0.9 * e + 0.1 * p for e, p in zip(expected, parameters, strict=True)]
    for teacher, wanted, first in zip(module.teacher.module.parameters(), expected, start, strict=True):
        torch.testing.assert_close(teacher, wanted)
        assert not torch.equal(teacher, first)


def test_the_teacher_gets_no_gradient_and_both_losses_are_weighed(tmp_path) -> None:
    suite = TestMeanTeacher()
    module = suite.module("uncertainty")
    suite.fit(module, tmp_path)
    assert all(p.grad is None for p in module.teacher.parameters())
    assert bool(module.player.weighed.losses.present.all())


def test_the_images_of_a_batch_without_labels_count_for_the_agreement_alone() -> None:
    suite = TestMeanTeacher()
    module = suite.module()
    rows = [suite.problem().datasets(0)["train"][i] for i in range(8)]
    batch = [torch.stack(column) for column in zip(*rows, strict=True)]
    outputs = module.outputs(batch)
    assert outputs.term("label").mask.tolist() == [True] * 8 + [False] * 8
    assert outputs.term("consistency").mask is None
    assert not outputs.term("consistency").target.requires_grad


@pytest.mark.parametrize(("key", "value"), [("term", "labl"), ("consistency", "agreement")])
def test_a_term_that_is_not_there_is_a_sentence(key: str, value: str) -> None:
    found: list[str] = []

    def attempt(build):
        try:
            return build()
        except ConfigError as error:
            found.append(str(error))

    MeanTeacher(**{key: value}).check(replace(TestMeanTeacher().run()), attempt)
    assert found == [
        f"module.{key} must name a loss of the problem, but it is '{value}' and the losses are label, consistency."
    ]


def test_decay_is_checked_when_built() -> None:
    with pytest.raises(ValueError, match=r"`decay` must lie in \[0, 1\), but decay=1"):
        MeanTeacher(decay=1)
