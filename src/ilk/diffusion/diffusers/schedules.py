"""The noise schedule in a scheduler's configuration.

The levels are the scheduler's table of cumulative alphas; the spacing of its sampling steps is
irrelevant here. With `rescale_betas_zero_snr` the last step is pure noise (Shanchuan Lin and
others, 2024, Common Diffusion Noise Schedules and Sample Steps are Flawed, arXiv 2305.08891,
algorithm 1); it has no finite sigma and is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.external import Epsilon, Flow, NoiseSchedule, Parameterization, Velocity
from ilk.diffusion.diffusers.families import CheckpointLayout
from ilk.diffusion.diffusers.parts import import_library, silence_libraries
from ilk.hub.configs import read_json


@dataclass(frozen=True, eq=False)
class SamplePrediction(Epsilon):
    """A network that predicts the clean image; scaling and time are those of `Epsilon`."""

    def predict_clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        """Return the output `[b, c, h, w]` itself."""
        return out


PREDICTIONS = {"epsilon": Epsilon, "v_prediction": Velocity, "sample": SamplePrediction}


def read_parameterization(
    layout: CheckpointLayout, integer_steps: bool = False
) -> Parameterization:
    """Return how the network of `layout` scales its input, encodes time, and what it predicts.

    Args:
        layout: The checkpoint.
        integer_steps: Whether the network takes whole steps only.

    Raises:
        InputError: The scheduler has no noise levels or an unknown prediction type.
    """
    config = read_json(layout.schedule_file)
    name, prediction = str(config.get("_class_name")), config.get("prediction_type", "epsilon")
    if name.startswith("FlowMatch") or prediction == "flow_prediction":
        steps = _read_steps(config, layout)
        return Flow(float(steps), (1 / steps, 1 - 1 / steps))
    if prediction not in PREDICTIONS:
        raise InputError(
            f"{layout.schedule_file} states that the network predicts {prediction!r}; "
            f"{', '.join(PREDICTIONS)} and flow matching are supported"
        )
    return PREDICTIONS[prediction](
        NoiseSchedule.from_alphas_bar(_read_alphas_bar(layout, name, config), integer_steps)
    )


def _read_steps(config: dict[str, Any], layout: CheckpointLayout) -> int:
    steps = config.get("num_train_timesteps", 1000)
    if not isinstance(steps, int) or steps < 3:
        raise InputError(f"{layout.schedule_file} has num_train_timesteps {steps}; it must be >= 3")
    return steps


def _read_alphas_bar(layout: CheckpointLayout, name: str, config: dict[str, Any]) -> Tensor:
    """Return the scheduler's cumulative alphas, `[T]`."""
    _read_steps(config, layout)
    scheduler_class = getattr(import_library(), name, None)
    try:
        with silence_libraries():
            table = (
                getattr(scheduler_class.from_config(config), "alphas_cumprod", None)
                if scheduler_class
                else None
            )
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{layout.schedule_file} cannot be loaded as {name}: {error}") from error
    if not isinstance(table, Tensor):
        raise InputError(
            f"{layout.schedule_file} is a {name}, which has no table of betas; schedulers with "
            "betas (DDPMScheduler, DDIMScheduler, PNDMScheduler and others) and "
            "FlowMatchEulerDiscreteScheduler are supported"
        )
    table = table.double().clone()
    if config.get("rescale_betas_zero_snr"):
        table[-1] = 0.0  # some schedulers replace it by a small number
    return table
