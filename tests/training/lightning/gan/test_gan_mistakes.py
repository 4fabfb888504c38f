"""What is said of a GAN that cannot be trained as it is."""

import warnings

import pytest
from torch import nn

from autoloss.core.errors import CollapseWarning, ConfigError, NonFiniteError, SignalError
from autoloss.core.problem import Outputs, Term
from autoloss.core.table import Entry
from autoloss.losses.gan_hinge import GanHinge


class TestMistakes:
    def test_a_discriminator_of_the_wrong_shape(self, play, points):
        class Wrong(points):
            def discriminator(self):
                return nn.Sequential(nn.Linear(4, 2), nn.Flatten(0))

        with pytest.raises(
            ConfigError, match=r"must give logits \[8, ...\] for a batch of 8, but for the generated .*\[16\]"
        ):
            play.fit(play.module(Wrong()), 1)

    def test_a_generator_s_loss_that_does_not_depend_on_it(self, play, points):
        class Cut(points):
            def generator_outputs(self, network, discriminator, generated, batch):
                return super().generator_outputs(network, discriminator, generated.detached(), batch)

        with pytest.raises(SignalError, match="loss of the generator must depend on the generator, but 'adv' does not"):
            play.fit(play.module(Cut()), 1)

    @pytest.mark.parametrize(("player", "loss"), [("generator", "near"), ("discriminator", "adv")])
    def test_nan_says_which_player_which_loss_which_step(self, play, points, player, loss):
        class Bad(points):
            calls = 0

            def outputs_of(self, outputs):
                self.calls += 1
                if self.calls != 6:
                    return outputs
                term = outputs.terms[loss]
                bad = (
                    Term(term.prediction * float("nan"), term.target)
                    if isinstance(term, Term)
                    else Entry(term.fake[:, 0] * float("nan"))
                )
                return Outputs({**outputs.terms, loss: bad}, outputs.anchor)

            def generator_outputs(self, *args):
                outputs = super().generator_outputs(*args)
                return self.outputs_of(outputs) if player == "generator" else outputs

            def discriminator_outputs(self, *args):
                outputs = super().discriminator_outputs(*args)
                return self.outputs_of(outputs) if player == "discriminator" else outputs

        with pytest.raises(NonFiniteError, match=f"the {player}'s loss '{loss}' is nan at step 5"):
            play.fit(play.module(Bad()), 1)
        module = play.module(Bad(), on_nonfinite="skip")
        play.fit(module, 1)
        assert module.players[player].nonfinite.skipped == 1
        assert all(p.isfinite().all() for p in module.parameters())

    def test_flags_that_two_optimisers_cannot_share(self, play):
        for flag, value, advice in (
            ("gradient_clip_val", 1.0, "Set generator.clip and discriminator.clip"),
            ("accumulate_grad_batches", 2, "Set generator.accumulate and discriminator.accumulate"),
            ("max_steps", 10, "Set trainer.max_epochs"),
        ):
            with pytest.raises(ConfigError, match=f"trainer.{flag} .*{advice}"):
                play.fit(play.module(), 1, **{flag: value})

    def test_a_discriminator_that_is_always_right_is_warned_of(self, play, points):
        class Right(points):
            def discriminator_outputs(self, discriminator, generated, batch):
                outputs = super().discriminator_outputs(discriminator, generated, batch)
                verdict = outputs.terms["adv"]
                return Outputs({"adv": type(verdict)(verdict.real + 50, verdict.fake - 50)})

        hinge = play.options("discriminator", game=GanHinge())
        with pytest.warns(CollapseWarning, match=r"loss has been 0 for \d+ steps, up to step \d+.*or set pace.target"):
            play.fit(play.module(Right(), discriminator=hinge), 20)
        with warnings.catch_warnings():
            warnings.simplefilter("error", CollapseWarning)
            play.fit(play.module(), 20)

    def test_ddp_that_waits_for_unused_parameters(self, play):
        from pytorch_lightning.strategies import DDPStrategy

        from autoloss.training.lightning.gan.checks import check_strategy

        with pytest.raises(ConfigError, match="Set trainer.strategy=ddp_find_unused_parameters_true"):
            check_strategy(DDPStrategy())
        check_strategy(DDPStrategy(find_unused_parameters=True))

    @pytest.mark.parametrize("wrong", [{"steps": 0}, {"accumulate": 0}, {"clip": 0.0}])
    def test_options_that_cannot_be(self, play, wrong):
        with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}` must be"):
            play.options("generator", **wrong)

    def test_surgery_for_the_discriminator(self, play):
        with pytest.raises(
            ConfigError, match="only the generator has, but the discriminator's weighting is 'graddrop'"
        ):
            play.module(discriminator=play.options("discriminator", "graddrop"))

    def test_losses_of_the_wrong_kind(self, play):
        from autoloss.losses.mse import Mse

        with pytest.raises(ConfigError, match="Loss 'adv' must be adversarial, but 'mse' is not"):
            play.fit(play.module(generator=play.options("generator", game=Mse())), 1)
        with pytest.raises(ConfigError, match="'penalty' must be a penalty on the input gradient, but 'mse' is none"):
            play.fit(play.module(discriminator=play.options("discriminator", losses={"penalty": Mse()})), 1)
