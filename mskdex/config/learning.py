"""Folds, experiments and training."""

from typing import Any, Literal

from pydantic import Field

from mskdex.config.base import Settings


class FoldSettings(Settings):
    """Patient-level cross-validation."""

    count: int = Field(4, ge=2, description="number of folds")
    train: tuple[int, ...] | Literal["all"] = Field((0,), description="folds to train and evaluate")
    seed: int = Field(0, ge=0, description="seed of the assignment of patients to folds")


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
    absolute_gradients: bool = Field(
        False, description="absolute Sobel responses in GC, as in the authors' lab; signed is the textbook form"
    )


class NetworkSettings(Settings):
    """Generator and discriminators."""

    backbone: Literal["hrnet_tiny", "hrnet_w18", "hrnet_w32", "hrnet_w48"] = Field(
        "hrnet_tiny", description="HRNet variant"
    )
    norm: Literal["instance", "group", "none"] = Field("instance", description="normalisation layers")
    ndf: int = Field(64, ge=8, description="width of the PatchGAN's first layer")
    discriminator_scales: int = Field(2, ge=1, le=3, description="scales of the PatchGAN")


class OptimisationSettings(Settings):
    """The training loop."""

    seed: int = Field(0, ge=0, description="seed of weights, batches and augmentation")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:i")
    epochs: int = Field(600, ge=1, description="passes over the training patients")
    batch_size: int = Field(2, ge=1, description="radiographs per step")
    learning_rate: float = Field(1e-4, gt=0, description="AdamW learning rate")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW weight decay")
    restart_epochs: int = Field(200, ge=1, description="T_0 of the cosine warm restarts (SGDR), T_mult 1")
    min_learning_rate: float = Field(1e-6, ge=0, description="eta_min of SGDR")
    augment: bool = Field(True, description="flips, rotation, shear, shift, zoom; contrast on the radiograph")
    checkpoint_minutes: float = Field(10.0, gt=0, description="time between checkpoints, beside one per epoch")


class ExperimentSettings(Settings):
    """A named experiment: losses, network and optimisation, each fold alike unless overridden."""

    losses: LossSettings = LossSettings()
    network: NetworkSettings = NetworkSettings()
    optimisation: OptimisationSettings = OptimisationSettings()
    folds: dict[int, dict[str, Any]] = Field(
        {}, description="per-fold overrides of the keys above, e.g. {2: {losses: {lambda_is: 50}}}"
    )

    def of_fold(self, fold: int) -> "ExperimentSettings":
        """The experiment as one fold runs it: overrides applied and validated, `folds` empty."""
        merged = _merge(self.model_dump(exclude={"folds"}), self.folds.get(fold, {}))
        return ExperimentSettings.model_validate(merged)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return merged


def default_experiments() -> dict[str, ExperimentSettings]:
    """The paper's method and its conventional baseline (vanilla CycleGAN + GC alpha, Nakanishi 2023)."""
    conventional = LossSettings(gc_beta=0.0, lambda_is=0.0, lambda_bone=0.0)
    return {"mskdex": ExperimentSettings(), "conventional": ExperimentSettings(losses=conventional)}
