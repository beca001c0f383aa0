"""What a scheduler's configuration says of the noise that the network was trained on.

The levels are the scheduler's own table of abar; how it would space its sampling steps does not
matter here. With `rescale_betas_zero_snr` the last step is pure noise (Shanchuan Lin and others,
2024, Common Diffusion Noise Schedules and Sample Steps are Flawed, arXiv 2305.08891, algorithm 1),
has no finite sigma, and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ilk.diffusion.foreign import Convention, Epsilon, Flow, Schedule, Velocity
from ilk.diffusion.hub.families import Layout
from ilk.diffusion.hub.parts import library, quiet
from ilk.encoders.configs import read_json
from ilk.errors import InputError


@dataclass(frozen=True, eq=False)
class Sample(Epsilon):
    """Trained to predict the clean image itself; scales and tells time as `Epsilon` does."""

    def clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        return out


PREDICTIONS = {"epsilon": Epsilon, "v_prediction": Velocity, "sample": Sample}


def convention(layout: Layout, whole: bool = False) -> Convention:
    """How the network of `layout` scales its input, tells time, and what its output means.

    Args:
        layout: Where.
        whole: The network takes whole steps only.

    Raises:
        InputError: The scheduler tells no levels, or a prediction nobody knows.
    """
    told = read_json(layout.schedule)
    name, target = str(told.get("_class_name")), told.get("prediction_type", "epsilon")
    if name.startswith("FlowMatch") or target == "flow_prediction":
        steps = _steps(told, layout)
        return Flow(float(steps), (1 / steps, 1 - 1 / steps))
    if target not in PREDICTIONS:
        raise InputError(
            f"{layout.schedule} says that the network predicts {target!r}; "
            f"{', '.join(PREDICTIONS)} and flow matching are read"
        )
    return PREDICTIONS[target](Schedule.from_alphas_bar(_alphas_bar(layout, name, told), whole))


def _steps(told: dict[str, Any], layout: Layout) -> int:
    steps = told.get("num_train_timesteps", 1000)
    if not isinstance(steps, int) or steps < 3:
        raise InputError(f"{layout.schedule} has num_train_timesteps {steps}; give at least 3")
    return steps


def _alphas_bar(layout: Layout, name: str, told: dict[str, Any]) -> Tensor:
    """The scheduler's table of abar, `[T]`."""
    _steps(told, layout)
    kind = getattr(library(), name, None)
    try:
        with quiet():
            table = getattr(kind.from_config(told), "alphas_cumprod", None) if kind else None
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{layout.schedule} makes no {name}: {error}") from error
    if not isinstance(table, Tensor):
        raise InputError(
            f"{layout.schedule} is of a {name}, which has no table of betas; schedulers with "
            "betas (DDPMScheduler, DDIMScheduler, PNDMScheduler and others) and "
            "FlowMatchEulerDiscreteScheduler are read"
        )
    table = table.double().clone()
    if told.get("rescale_betas_zero_snr"):
        table[-1] = 0.0  # some schedulers put a small number in its place, which nothing trained on
    return table
