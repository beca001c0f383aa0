"""A classifier whose evidence is known: it sees how much red and how much green an image holds."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from ilk.artifacts.classifier import Classifier
from ilk.core.linear_models import Linear
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.runtime import Runner
from ilk.hub.preprocessing import Preprocess
from ilk.trust.calibration import Calibration

SIDE = 48
CLASSES = ("red", "green", "dark")
PREPROCESS = Preprocess(
    (SIDE, SIDE), (SIDE, SIDE), "squash", "bilinear", (0.0,) * 3, (1.0,) * 3
)  # fmt: skip
RED = (slice(6, 18), slice(28, 40))  # rows and columns of the red square of `draw_image`
GREEN = (slice(30, 38), slice(4, 12))


class ColourNetwork(nn.Module):
    """`[b, 3, h, w]` in [0, 1] to mean excess of red, of green, and mean brightness, `[b, 4]`."""

    def __init__(self):
        super().__init__()
        self.colours = nn.Conv2d(3, 4, 1)
        self.smooth = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4, bias=False)
        with torch.no_grad():
            weight = torch.tensor(
                [[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.3, 0.3, 0.3], [0.2, -0.1, 0.4]]
            )
            self.colours.weight.copy_(weight[:, :, None, None])
            self.colours.bias.copy_(torch.tensor([-0.2, -0.2, 0.0, 0.0]))
            self.smooth.weight.fill_(1 / 9)

    def forward(self, x):
        return torch.relu(self.smooth(torch.relu(self.colours(x)))).mean((2, 3))


class HeldCheckpoint:
    """A network in memory in place of files."""

    family, folder, preprocess, dim = "planted", Path("."), PREPROCESS, 4

    def __init__(self, network):
        self.network = network

    def digest_files(self):
        return {"weights": "planted"}

    def build_network(self):
        import copy

        return copy.deepcopy(self.network)


def make_encoder(network=None, name="planted"):
    """Return the encoder of a network, `ColourNetwork` by default."""
    network = (network or ColourNetwork()).eval().requires_grad_(False)
    encoder = NetworkEncoder(name, HeldCheckpoint(network), "cpu", "torch", "float32")

    def run(x):
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    encoder._runner = Runner(run, PREPROCESS, 16)
    return encoder


def make_classifier(encoder=None, **parts):
    """Return a classifier into red, green and dark; parts replace its own."""
    weight = np.array([[120, 0, 0, 0], [0, 120, 0, 0], [0, 0, -2, 0]], np.float32)
    head = Linear(weight, np.array([0.0, 0.0, 1.0], np.float32))
    own = {"model": head, "calibration": Calibration(1.0, 0.02, 50)}
    return Classifier(
        CLASSES, encoder or make_encoder(), conformal=None, ood_detector=None, **{**own, **parts}
    )


def draw_image(seed=0, red=RED, green=GREEN):
    """Return grey noise with a red square and a smaller green one."""
    rng = np.random.default_rng(seed)
    grey = rng.integers(90, 140, (SIDE, SIDE, 1)).repeat(3, 2).astype(np.uint8)
    grey[red] = (230, 20, 30)
    if green is not None:
        grey[green] = (20, 220, 30)
    return Image.fromarray(grey)


def make_mask(place=RED):
    """Return whether each pixel lies in a square, `[h, w]`."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[place] = True
    return mask
