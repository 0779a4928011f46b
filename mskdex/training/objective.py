"""The full objective: which losses, of which images, with which weights."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mskdex.config.learning import LossSettings
from mskdex.config.registries import loss
from mskdex.models import losses
from mskdex.models.loss_terms import Comparison
from mskdex.training.batches import Batch


@dataclass(frozen=True)
class Networks:
    """The four networks of a CycleGAN.

    Attributes:
        decompose: G, radiograph to 3·N DRR channels.
        compose: F, the way back.
        discriminator_radiograph: discriminator of radiographs.
        discriminator_drr: discriminator of DRR stacks.
    """

    decompose: nn.Module
    compose: nn.Module
    discriminator_radiograph: nn.Module
    discriminator_drr: nn.Module

    @property
    def generators(self) -> tuple[nn.Module, nn.Module]:
        """G and F."""
        return self.decompose, self.compose

    @property
    def discriminators(self) -> tuple[nn.Module, nn.Module]:
        """Both discriminators."""
        return self.discriminator_radiograph, self.discriminator_drr

    def named(self) -> dict[str, nn.Module]:
        """All four by name."""
        return {
            "decompose": self.decompose,
            "compose": self.compose,
            "discriminator_radiograph": self.discriminator_radiograph,
            "discriminator_drr": self.discriminator_drr,
        }


@dataclass(frozen=True)
class Objective:
    """The weighted sum of losses of one experiment.

    Attributes:
        settings: weights.
        scale: (3, N) cm³ or g per pixel that a normalised DRR's 1 stands for.
        bones: indices of the objects of the bone loss.
    """

    settings: LossSettings
    scale: Float[Tensor, "3 n"]
    bones: tuple[int, ...]

    @cached_property
    def places(self) -> Tensor:
        """`bones` on the device of the scale: a list as index would go there anew at each step."""
        return torch.tensor(self.bones, device=self.scale.device)

    def generator_losses(self, networks: Networks, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
        """Every loss of the generators that has a weight, unweighted.

        Returns:
            losses by name, the fake DRR stack, and the fake radiograph where one was needed.
        """
        s = self.settings
        fake = networks.decompose(batch.radiograph, batch.water, batch.relative).float()
        found = self._paired(fake, batch)
        fake_radiograph = None
        if s.unpaired:
            # One pass for both directions: instance norm keeps the samples of a batch apart.
            both = networks.compose(torch.cat([fake, batch.drr])).float()
            returned, fake_radiograph = both.chunk(2)
        if s.lambda_cyc > 0:
            assert fake_radiograph is not None
            found["cycle_radiograph"] = losses.cycle(batch.radiograph, returned, mask=batch.field)
            water = fake_radiograph.clamp_min(0.0) * batch.partner_water
            again = networks.decompose(fake_radiograph, water, batch.partner_relative).float()
            found["cycle_drr"] = losses.cycle(batch.drr, again)
        if s.lambda_gan > 0:
            assert fake_radiograph is not None
            field = batch.field
            for name, discriminator, image in (
                ("gan_drr", networks.discriminator_drr, fake),
                ("gan_radiograph", networks.discriminator_radiograph, fake_radiograph),
            ):
                found[name] = losses.adversarial(discriminator(image * field), True, s.gan, mask=field)
        return found, fake, fake_radiograph

    def _paired(self, fake: Float[Tensor, "b c h w"], batch: Batch) -> dict[str, Tensor]:
        """Losses that compare the fake DRRs with what is known of the radiograph's own patient."""
        comparison = Comparison(
            drr=fake.unflatten(1, (3, -1)),
            radiograph=batch.compared,
            field=batch.field,
            scale=self.scale,
            target=batch.target,
            known=batch.known,
            compared=self.places,
            aligned=batch.aligned,
            available=batch.available,
            settings=self.settings,
        )
        wanted = [name for name, weight in self.settings.paired_weights().items() if weight > 0]
        return {name: loss[name](comparison) for name in wanted if name != "bone" or self.bones}

    def total(self, losses: dict[str, Tensor]) -> Float[Tensor, ""]:
        """The weighted sum (MSKdeX eq. 5)."""
        s = self.settings
        weights = s.paired_weights() | {
            "cycle_radiograph": s.lambda_cyc,
            "cycle_drr": s.lambda_cyc,
            "gan_drr": s.lambda_gan,
            "gan_radiograph": s.lambda_gan,
        }
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def discriminator_losses(
        self, networks: Networks, batch: Batch, fake_drr: Tensor, fake_radiograph: Tensor
    ) -> dict[str, Tensor]:
        """Losses of the discriminators on real images and detached fakes, real and fake weighing half each.

        Real and fake images are seen through the same exposed fields, so that a field's shape tells nothing.
        """
        field = batch.field
        pairs = {
            "discriminator_drr": (networks.discriminator_drr, batch.drr, fake_drr),
            "discriminator_radiograph": (networks.discriminator_radiograph, batch.radiograph, fake_radiograph),
        }
        found = {}
        for name, (discriminator, real, fake) in pairs.items():
            scores = discriminator(torch.cat([real * field, fake.detach() * field]))
            halves = [s.chunk(2) for s in scores]
            found[name] = (
                losses.adversarial([h[0] for h in halves], True, self.settings.gan, mask=field)
                + losses.adversarial([h[1] for h in halves], False, self.settings.gan, mask=field)
            ) / 2.0
        return found
