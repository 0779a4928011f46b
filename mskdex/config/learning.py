"""Folds, experiments and training."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mskdex.config.base import NO_RESULT, Settings
from mskdex.config.registries import Choice, backbone, loss


class FoldSettings(Settings):
    """Patient-level cross-validation."""

    count: int = Field(4, ge=2, description="number of folds")
    train: tuple[int, ...] | Literal["all"] = Field((0,), description="folds to train and evaluate, or all")
    seed: int = Field(0, ge=0, description="seed of the assignment of patients to folds")


_OWN_WEIGHTS = {"gc_alpha": "lambda_gca", "gc_beta": "gc_beta", "intensity_sum": "lambda_is", "bone": "lambda_bone"}
"""The paper's losses and the keys of their weights."""

LossName = Annotated[str, Choice(loss, _OWN_WEIGHTS)]
BackboneName = Annotated[str, Choice(backbone)]


class LossSettings(Settings):
    """Weights of the objective, MSKdeX (Gu et al. 2023); 0 leaves a term out."""

    gan: Literal["lsgan", "bce"] = Field("lsgan", description="least-squares or cross-entropy adversarial loss")
    lambda_gan: float = Field(1.0, ge=0, description="weight of the adversarial loss")
    lambda_cyc: float = Field(10.0, ge=0, description="weight of the cycle loss")
    lambda_gc: float = Field(1.0, ge=0, description="weight of the whole gradient-correlation loss")
    lambda_gca: float = Field(0.5, ge=0, description="weight of GC alpha (virtual X-ray against X-ray)")
    gc_beta: float = Field(1.0, ge=0, description="weight of GC beta (structure of VDRR and MDRR)")
    lambda_is: float = Field(100.0, ge=0, description="weight of the object-wise intensity sum")
    lambda_bone: float = Field(1.0, ge=0, description="weight of the bone loss")
    lambda_l1: float = Field(100.0, ge=0, description="weight of L1 within the bone loss")
    real_muscle_weight: float = Field(
        1.0,
        ge=0,
        description="weight, in the bone loss, of the muscles that the first simulated pair aligns with the real "
        "radiograph, where a bone has 1; pairs: mixed only",
    )
    absolute_gradients: bool = Field(
        False, description="absolute Sobel responses in GC, as in the authors' lab; signed is the textbook form"
    )
    others: dict[LossName, Annotated[float, Field(ge=0)]] = Field(
        {}, description="weights of further losses by name; CONTRIBUTING.md says how to add one"
    )

    def paired_weights(self) -> dict[str, float]:
        """Weight of each loss that compares the DRRs with the radiograph's own patient (MSKdeX eq. 5), by its name."""
        return {
            "gc_alpha": self.lambda_gc * self.lambda_gca,
            "gc_beta": self.lambda_gc * self.gc_beta,
            "intensity_sum": self.lambda_is,
            "bone": self.lambda_bone,
            **self.others,
        }

    @property
    def unpaired(self) -> bool:
        """Whether a loss asks for radiographs and DRR stacks that do not belong together."""
        return self.lambda_gan > 0 or self.lambda_cyc > 0


class NetworkSettings(Settings):
    """Generator and discriminators."""

    backbone: BackboneName = Field(
        "hrnet_w32",
        description="network of both generators; hrnet_tiny and unet_small are for training without a GPU",
    )
    stem_stride: Literal[1, 2, 4] = Field(
        4, description="image pixels per pixel of the finest feature map; 4 is HRNet's own, 2 suits small images"
    )
    norm: Literal["instance", "group", "none"] = Field("instance", description="normalisation layers of the generators")
    head: Literal["composition", "plain"] = Field(
        "plain",
        description="composition shares each pixel's own attenuation out among the objects; plain is the paper's head",
    )
    output: Literal["softplus", "linear"] = Field(
        "softplus", description="last activation of the plain head: softplus keeps DRRs non-negative"
    )
    ndf: int = Field(64, ge=4, description="width of the PatchGAN's first layer")
    discriminator_scales: int = Field(2, ge=1, le=3, description="scales of the PatchGAN")


class AugmentationSettings(Settings):
    """Random changes of each training sample; each range is symmetric about no change."""

    flip_probability: float = Field(0.5, ge=0, le=1, description="left-right flip, which swaps left and right objects")
    rotation_deg: float = Field(25.0, ge=0, le=90, description="largest rotation")
    shear_deg: float = Field(8.0, ge=0, le=45, description="largest shear")
    shift_fraction: float = Field(0.1, ge=0, le=0.5, description="largest shift, as a fraction of the image's side")
    zoom_fraction: float = Field(0.1, ge=0, lt=1, description="largest change of size, 0.1 is from 0.9 to 1.1")
    contrast_fraction: float = Field(0.1, ge=0, lt=1, description="largest change of contrast, radiograph only")
    brightness_fraction: float = Field(
        0.05, ge=0, lt=1, description="largest change of brightness, as a fraction of the range, radiograph only"
    )
    tone_fraction: float = Field(
        0.3,
        ge=0,
        le=0.4,
        description="largest change of the tone curve's slope at bone, radiographs of relative scale only",
    )


class OptimisationSettings(Settings):
    """The training loop."""

    seed: int = Field(0, ge=0, description="seed of weights, batches and augmentation")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:i")
    epochs: int = Field(600, ge=1, description="passes over the training patients")
    pairs_alone_epochs: int = Field(
        0, ge=0, description="first epochs that learn from simulated pairs alone; pairs: mixed only"
    )
    coarse_epochs: int = Field(
        0,
        ge=0,
        description="first epochs that compare DRRs of half as many rows and columns, in a third of the time; head: "
        "composition without adversarial and cycle loss only",
    )
    batch_size: int = Field(2, ge=1, description="radiographs per pass through the networks")
    accumulate_batches: int = Field(1, ge=1, description="batches whose gradients make one step of the optimiser")
    learning_rate: float = Field(1e-4, gt=0, description="AdamW learning rate of the generators")
    discriminator_learning_rate: float | None = Field(
        None, gt=0, description="AdamW learning rate of the discriminators; null is that of the generators"
    )
    weight_decay: float = Field(1e-4, ge=0, description="AdamW weight decay")
    restart_epochs: int = Field(200, ge=1, description="T_0 of the cosine warm restarts (SGDR), T_mult 1")
    min_learning_rate: float = Field(1e-6, ge=0, description="eta_min of SGDR")
    max_gradient_norm: float | None = Field(None, gt=0, description="gradients are clipped to this norm; null: never")
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="decay per step of the averaged generator that predicts; null keeps the last one"
    )
    history_images: int = Field(50, ge=0, description="past fakes that each discriminator also sees; 0: newest only")
    augmentation: AugmentationSettings | None = Field(
        AugmentationSettings(), description="random changes of the training samples; null leaves them as they are"
    )
    mixed_precision: bool = Field(True, description="bfloat16 in the networks on a GPU")
    compile: bool = Field(False, description="torch.compile the networks; the first step then takes minutes")
    cache_gb: float = Field(
        8.0,
        ge=0,
        description="memory for decoded stacks; the rest is read again each time",
        json_schema_extra=NO_RESULT,
    )
    tensorboard: bool = Field(
        True, description="write scalars and image grids for TensorBoard", json_schema_extra=NO_RESULT
    )
    checkpoint_minutes: float = Field(10.0, gt=0, description="time between checkpoints", json_schema_extra=NO_RESULT)


class ExperimentSettings(Settings):
    """A named experiment; keys that are left out have the paper's values.

    Losses, network and optimisation are alike in each fold unless overridden.
    """

    losses: LossSettings = LossSettings()
    network: NetworkSettings = NetworkSettings()
    optimisation: OptimisationSettings = OptimisationSettings()
    pairs: Literal["none", "simulated", "mixed"] = Field(
        "none",
        description="simulated trains on pairs of radiograph and DRRs from the training patients' CTs alone (section "
        "simulation); no real radiograph is learned from, and the bone loss compares every object; mixed trains on "
        "them and as many real radiographs, whose muscles the first pair aligns",
    )
    start_from: str | None = Field(
        None,
        description="model.safetensors of a trained fold, of another site perhaps, that the training goes on from: its "
        "weights, scales and device profiles; null begins with random weights",
    )
    folds: dict[int, dict[str, Any]] = Field(
        {}, description="per-fold overrides of the keys above, e.g. {2: {losses: {lambda_is: 50}}}"
    )

    @model_validator(mode="after")
    def _coarse(self) -> "ExperimentSettings":
        if self.optimisation.coarse_epochs and (self.network.head != "composition" or self.losses.unpaired):
            msg = (
                "optimisation.coarse_epochs needs network.head composition, losses.lambda_gan 0 and losses.lambda_cyc "
                "0; set them so, or coarse_epochs to 0"
            )
            raise ValueError(msg)
        if self.optimisation.coarse_epochs and self.network.stem_stride == 1:
            msg = "optimisation.coarse_epochs needs network.stem_stride 2 or 4; it is 1"
            raise ValueError(msg)
        return self

    def of_fold(self, fold: int) -> "ExperimentSettings":
        """The experiment as one fold runs it: overrides applied and validated, `folds` empty."""
        merged = _merge(self.model_dump(exclude={"folds"}), self.folds.get(fold, {}))
        return ExperimentSettings.model_validate(merged)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return merged


CONVENTIONAL_LOSSES = LossSettings(gc_beta=0.0, lambda_is=0.0, lambda_bone=0.0)
"""The baseline of the paper: vanilla CycleGAN + GC alpha (Nakanishi 2023)."""

_DESK_NETWORK = NetworkSettings(backbone="hrnet_tiny", ndf=16)
_DESK_OPTIMISATION = OptimisationSettings(
    epochs=18,
    learning_rate=1e-3,
    discriminator_learning_rate=2e-4,
    restart_epochs=18,
    history_images=0,
    augmentation=AugmentationSettings(
        rotation_deg=4.0,
        shear_deg=3.0,
        shift_fraction=0.04,
        zoom_fraction=0.1,
        contrast_fraction=0.0,
        brightness_fraction=0.0,
    ),
)
"""Settings that show the difference of the two methods in minutes on two CPU cores; not the paper's."""

_PIXELS_AND_SUMS = LossSettings(lambda_gan=0.0, lambda_cyc=0.0, lambda_gc=0.0, lambda_bone=0.2)
"""Without discriminators, whose steps cost three times as much; docs/learning.md has what each term does."""


def default_experiments() -> dict[str, ExperimentSettings]:
    """Simulated pairs mixed with real radiographs, and the paper's conventional baseline, for two CPU cores."""
    network = NetworkSettings(backbone="unet_small", stem_stride=4, ndf=16, head="composition")
    optimisation = _DESK_OPTIMISATION.model_copy(
        update={"epochs": 56, "coarse_epochs": 48, "restart_epochs": 56, "batch_size": 4, "learning_rate": 2e-3}
    )
    return {
        "mskdex_simulated": ExperimentSettings(
            pairs="mixed", losses=_PIXELS_AND_SUMS, network=network, optimisation=optimisation
        ),
        "conventional": ExperimentSettings(
            losses=CONVENTIONAL_LOSSES, network=_DESK_NETWORK, optimisation=_DESK_OPTIMISATION
        ),
    }
