"""Can a score tell which encoder will serve best, without fitting a classifier?

The catalogue's row tmi-intraclass-variance. Sixteen encoders of 28 x 28 grey pictures (pixels at
three sizes, HOG at two, principal axes of MNIST, two networks with random weights, and eight small
networks taught all or some classes of MNIST, Fashion-MNIST or notMNIST, for long or for a moment)
meet five targets: MNIST, USPS, MNIST-M, notMNIST and Fashion-MNIST, always rows that no network was
taught with. Ten cuts of one MobileNetV2 (principal axes, columns drawn) meet CIFAR-10 beside them:
there the number of features is nearly all that differs.

What is to be told: the test accuracy of logistic regression on the frozen features (600 labelled
rows, 1,000 test rows, drawn anew by each of five seeds), and, for the networks alone, of the whole
network fine-tuned on the same rows (one recipe, fixed beforehand; not tuned for each, which would
cost more than all the rest). The scores see the 600 rows. A table holds Kendall's tau with that
accuracy, a figure a seed; its interval is over seeds, so over draws of rows. How far other encoders
would give the same is in `bootstrap`: tau over encoders drawn with replacement. "feature dimension"
and "parameters" are predictors that look at no picture; a score that is not ahead of them knows
nothing of use. TMI stands there as in the authors' code (distances raised to 1), without that
floor, and in 32 principal axes of one scale. No figure chose a setting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import sklearn.covariance  # noqa: F401  (its import is to count as no score's time)
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from ilk.bench import _sets, spread
from ilk.bench._family import Claim, table
from ilk.data import Data, Features, Labels
from ilk.encoders.hog import Hog
from ilk.errors import Unavailable
from ilk.maths.axes import principal
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.metrics import softmax
from ilk.protocols import steps, stratified_folds
from ilk.ranking import agreement, h_score, leep, logme, nce, tmi
from ilk.training.loop import Batch, Recipe, train

SEEDS, LEARN, TEST, WIDTH = 5, 600, 1000, 32
TAUGHT = 4000  # rows of a source set that networks are taught with; targets take others
LONG, MOMENT, TUNED = 300, 25, 100  # steps
DRAWS = 500  # of encoders, for the bootstrap
ROW, FILE = "tmi-intraclass-variance", "ranking/tmi.py"
OURS, THEIRS, EVEN = "TMI", "TMI, floor 1", "TMI, common axes"
RIVALS = ("LogME", "H-score", "kNN accuracy", "feature dimension")
Figures = dict[str, float]


class Network(nn.Module):
    """Two strided convolutions and a layer of `width` rectified features, before a linear head."""

    def __init__(self, classes: int, width: int, channels: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(1, channels, 5, 2, 2)
            self.second = nn.Conv2d(channels, 2 * channels, 3, 2, 1)
            self.inner = nn.Linear(98 * channels, width)
            self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """`[n, width]` of pictures `[n, 1, 28, 28]`."""
        z = functional.relu(self.second(functional.relu(self.first(x))))
        return functional.relu(self.inner(z.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Encoder:
    """A name, what it makes of flat pictures, its number of weights, its network if it has one."""

    name: str
    embed: Callable[[Features], Features]
    parameters: int = 0
    network: Network | None = None


def run(small: bool = False) -> dict[str, Any]:
    """Every table; `small` takes digits as pixels, three encoders and two seeds."""
    if small:
        return _told("digits, {}", *_small())
    told: dict[str, Any] = {"tables": [], "left out": []}
    for study in (_grey, _photographs):
        try:
            found = study()
        except Unavailable as missing:
            told["left out"].append(str(missing))
            continue
        told["tables"] += found.pop("tables")
        told |= found
    return told


def drawn(data: Data, n: int) -> Data:
    """`n` rows in a random order that is always the same; `-n`: all but those.

    Sets stand class after class, so that the first rows of one would be of few classes.
    """
    order = np.random.default_rng(0).permutation(len(data))
    return data.rows(order[:n] if n > 0 else order[-n:])


def picture(x: Features) -> Tensor:
    """Flat rows `[n, 784]` as `[n, 1, 28, 28]`."""
    return torch.from_numpy(np.array(x, np.float32)).reshape(-1, 1, 28, 28)


def taught(data: Data, steps: int, width: int = 64, channels: int = 8, seed: int = 0) -> Network:
    """A network taught the labelled rows of `data` (flat 28 x 28 pictures)."""
    y = torch.from_numpy(np.unique(data.y, return_inverse=True)[1].astype(np.int64))
    net = Network(int(y.max()) + 1, width, channels, seed)
    recipe = Recipe(steps, min(128, len(data)), 4e-3, min(20, steps // 3), 0.01, seed=seed)
    trained = train(net, Batch(picture(data.x), y), _loss, recipe)
    assert isinstance(trained, Network)
    return trained


def _loss(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return functional.cross_entropy(net(batch.x), batch.y)


def seen_by(net: Network, x: Features) -> Features:
    """Features of flat pictures, `[n, width]`."""
    with torch.inference_mode():
        return np.asarray(net.features(picture(x)).numpy(), np.float32)


@cache
def _encoders() -> tuple[Encoder, ...]:
    """The sixteen, the networks freshly taught."""
    mnist, fashion = drawn(_sets.mnist("train"), TAUGHT), drawn(_sets.fashion("train"), TAUGHT)
    letters = drawn(_sets.notmnist(), TAUGHT)
    axes = principal(mnist.x[:1000]).basis[:, :WIDTH]
    plain = [
        Encoder("pixels 28", lambda x: x),
        Encoder("pixels 14", partial(_pooled, side=14)),
        Encoder("pixels 7", partial(_pooled, side=7)),
        Encoder("HOG 32", partial(_hog, side=32)),
        Encoder("HOG 16", partial(_hog, side=16)),
        Encoder("principal axes", lambda x: np.asarray(x @ axes, np.float32), axes.size),
    ]
    tops = fashion.rows(np.isin(fashion.y, (0, 2, 3, 4, 6)))
    nets = {
        "random": Network(2, 64, 8, 1),
        "random, wide": Network(2, 128, 16, 2),
        "MNIST": taught(mnist, LONG, seed=3),
        "MNIST, a moment": taught(mnist, MOMENT, seed=4),
        "MNIST 0-4": taught(mnist.rows(mnist.y < 5), LONG, 32, seed=5),
        "Fashion": taught(fashion, LONG, seed=6),
        "Fashion, wide": taught(fashion, LONG, 128, 16, seed=7),
        "Fashion, a moment": taught(fashion, MOMENT, seed=8),
        "Fashion tops": taught(tops, LONG, 32, seed=9),
        "notMNIST": taught(letters, LONG, seed=10),
    }
    return (
        *plain,
        *(Encoder(n, partial(seen_by, net), _weights(net), net) for n, net in nets.items()),
    )


def _weights(net: Network) -> int:
    """Weights up to the features; the head is not used."""
    return sum(p.numel() for name, p in net.named_parameters() if not name.startswith("head"))


def _pooled(x: Features, side: int) -> Features:
    step = 28 // side
    blocks = x.reshape(-1, side, step, side, step)
    return np.asarray(blocks.mean((2, 4)).reshape(len(x), -1), np.float32)


def _hog(x: Features, side: int) -> Features:
    encoder = Hog(side)
    grey = (x.reshape(-1, 28, 28) * 255).round().astype(np.uint8)
    return encoder.embed(
        np.stack([encoder.prepare(Image.fromarray(g).convert("RGB")) for g in grey])
    )


def _targets() -> dict[str, Data]:
    letters = _sets.notmnist()
    return {
        "MNIST": _sets.mnist("test"),
        "USPS": _sets.usps("test"),
        "MNIST-M": _sets.mnist_m(),
        "notMNIST": drawn(letters, -TAUGHT),
        "Fashion-MNIST": _sets.fashion("test"),
    }


def _grey() -> dict[str, Any]:
    """The sixteen on five targets; the networks among them once more, frozen and fine-tuned."""
    encoders = _encoders()
    nets = [i for i, e in enumerate(encoders) if e.network is not None]
    found = {
        name: [_figures(encoders, data, seed) for seed in range(SEEDS)]
        for name, data in _targets().items()
    }
    tables, bootstrap = [], {}
    for name, by_seed in found.items():
        tables.append(_table(f"{name}, 16 encoders", {name: by_seed}, "frozen", False))
    for truth, which, where in (
        ("frozen", list(range(len(encoders))), "mean over five targets, 16 encoders, frozen"),
        ("frozen", nets, "mean over five targets, the ten networks, frozen"),
        ("fine-tuned", nets, "mean over five targets, the ten networks, fine-tuned"),
    ):
        cut = {n: [_only(figures, which) for figures in by] for n, by in found.items()}
        tables.append(_table(where, cut, truth))
        bootstrap[where] = _bootstrap(cut, truth)
    tables.append(_times(found))
    return {"tables": tables, "bootstrap": bootstrap, "encoders": _listing(encoders, found)}


Column = list[float | None]


def _figures(encoders: Sequence[Encoder], data: Data, seed: int) -> dict[str, Column]:
    """Each score, each accuracy and each time, an entry an encoder."""
    rows = np.random.default_rng(seed).permutation(len(data))
    learn, test = data.rows(rows[:LEARN]), data.rows(rows[LEARN : LEARN + TEST])
    seen = [Data(e.embed(learn.x), learn.y, learn.classes) for e in encoders]
    width = min(WIDTH, *(len(principal(data.x).squares) for data in seen))
    columns: dict[str, Column] = {}
    for encoder, data in zip(encoders, seen, strict=True):
        told = _scores(data, width, seed) | _truth(encoder, data, learn, test, seed)
        told |= {"feature dimension": data.x.shape[1], "parameters": encoder.parameters}
        for name, value in told.items():
            columns.setdefault(name, []).append(value)
    return columns


def _truth(
    encoder: Encoder, seen: Data, learn: Data, test: Data, seed: int
) -> dict[str, float | None]:
    """What the encoder is worth, and the scores that read a network's own classifier."""
    began = time.perf_counter()
    model = LogisticRegression().fit(seen)
    seconds = time.perf_counter() - began
    right = model.logits(encoder.embed(test.x)).argmax(1) == test.y
    told: dict[str, float | None] = {"LEEP": None, "NCE": None, "fine-tuned": None}
    told |= {"seconds logistic regression": seconds, "frozen": float(np.mean(right))}
    if (net := encoder.network) is not None:
        p = _source(net, learn.x)
        told |= {"LEEP": leep.score(p, learn.y), "NCE": nce.score(p, learn.y)}
        told["fine-tuned"] = _fine_tuned(net, learn, test, seed)
    return told


def _scores(seen: Data, width: int, seed: int) -> dict[str, float | None]:
    """The scores that read features, and what each took."""
    x, y = np.asarray(seen.x), seen.y
    tries: dict[str, Callable[[], float]] = {
        OURS: partial(tmi.score, x, y),
        THEIRS: partial(tmi.score, x, y, floor=1.0),
        EVEN: partial(tmi.score, x, y, width=width),
        "LogME": partial(logme.score, x, y),
        "H-score": partial(h_score.score, x, y),
        "kNN accuracy": partial(_neighbours, seen, seed),
    }
    told: dict[str, float | None] = {}
    for name, made in tries.items():
        began = time.perf_counter()
        told[name] = made()
        told[f"seconds {name}"] = time.perf_counter() - began
    return told


def _neighbours(seen: Data, seed: int) -> float:
    """Share that five neighbours of other folds answer rightly."""
    fold = stratified_folds(seen.y, 5, seed)
    right = [
        KNearest(k=5).fit(step.train).logits(step.test.x).argmax(1) == step.test.y
        for step in steps(seen, fold)
    ]
    return float(np.mean(np.concatenate(right)))


def _source(net: Network, x: Features) -> NDArray[np.float64]:
    with torch.inference_mode():
        return np.asarray(softmax(net(picture(x)).numpy().astype(np.float64), axis=1))


def _fine_tuned(net: Network, learn: Data, test: Data, seed: int) -> float:
    """Test accuracy of the whole network under a new head."""
    width, channels = net.head.in_features, net.first.out_channels
    again = Network(learn.k, width, channels, seed)
    for part in ("first", "second", "inner"):
        getattr(again, part).load_state_dict(getattr(net, part).state_dict())
    recipe = Recipe(TUNED, 64, 4e-3, 10, 0.01, seed=seed)
    whole = Batch(picture(learn.x), torch.from_numpy(np.array(learn.y)))
    tuned = train(again, whole, _loss, recipe)
    with torch.inference_mode():
        return float(np.mean(tuned(picture(test.x)).argmax(1).numpy() == test.y))


def _only(figures: Mapping[str, Column], which: Sequence[int]) -> dict[str, Column]:
    return {name: [column[i] for i in which] for name, column in figures.items()}


def _contenders(figures: Mapping[str, Column]) -> list[str]:
    """Columns that predict and that have something to say: no gap, not all the same."""
    told = [n for n in figures if n not in ("frozen", "fine-tuned") and "seconds" not in n]
    return [n for n in told if None not in figures[n] and len(set(figures[n])) > 1]


def _tau(figures: Mapping[str, Column], name: str, truth: str) -> float:
    tau = agreement(_whole(figures[name]), _whole(figures[truth]))
    return 0.0 if tau is None else tau  # a score that is the same everywhere tells nothing


def _whole(column: Column) -> list[float]:
    """A column that has no gap."""
    return [float(value) for value in column if value is not None]


def _table(
    where: str, found: Mapping[str, list[dict[str, Column]]], truth: str, settled: bool = True
) -> dict[str, Any]:
    """Tau of each predictor a seed, averaged over targets; with TMI's claims where `settled`."""
    by_seed = list(zip(*found.values(), strict=True))
    names = _contenders(by_seed[0][0])
    scores = {
        name: [float(np.mean([_tau(f, name, truth) for f in each])) for each in by_seed]
        for name in names
    }
    claims = [
        Claim(ROW, FILE, ours, rival)
        for ours in (OURS, THEIRS)
        for rival in RIVALS
        if settled and ours in names and rival in names
    ]
    return table(where, f"Kendall's tau with {truth} accuracy", scores, claims)


def _bootstrap(found: Mapping[str, list[dict[str, Column]]], truth: str) -> dict[str, Any]:
    """Mean tau over targets, figures averaged over seeds, and its 95 % range over encoders."""
    first = next(iter(found.values()))[0]
    n, rng = len(first[truth]), np.random.default_rng(0)
    draws = rng.integers(0, n, (DRAWS, n))
    told = {}
    for name in _contenders(first):
        taus = []
        for by_seed in found.values():
            a, b = (np.mean([_whole(f[c]) for f in by_seed], axis=0) for c in (name, truth))
            taus.append([_quick(a[at], b[at]) for at in (np.arange(n), *draws)])
        mean = np.mean(taus, axis=0)
        low, high = np.percentile(mean[1:], (2.5, 97.5))
        told[name] = {"tau": float(mean[0]), "low": float(low), "high": float(high)}
    return told


def _quick(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Kendall's tau-b by all pairs; 0 where one side is the same throughout."""
    p, q = (np.sign(v[:, None] - v) for v in (a, b))
    size = float(np.sqrt(np.sum(p**2) * np.sum(q**2)))
    return float(np.sum(p * q)) / size if size else 0.0


def _times(found: Mapping[str, list[dict[str, Column]]]) -> dict[str, Any]:
    """Seconds of each score by those of logistic regression with its strength chosen."""
    by_seed = list(zip(*found.values(), strict=True))
    names = [n for n in by_seed[0][0] if n.startswith("seconds")]
    spent = {
        n.removeprefix("seconds "): [float(np.sum([f[n] for f in each])) for each in by_seed]
        for n in names
    }
    regression = spent.pop("logistic regression")
    ratio = {n: [s / r for s, r in zip(v, regression, strict=True)] for n, v in spent.items()}
    where, metric = "all targets and encoders", "seconds by those of logistic regression"
    rivals = [n for n in ("kNN accuracy", "LogME") if n in ratio]
    return table(where, metric, ratio, [Claim(ROW, FILE, OURS, n) for n in rivals], "lower")


def _listing(
    encoders: Sequence[Encoder], found: Mapping[str, list[dict[str, Column]]]
) -> list[dict[str, Any]]:
    """Each encoder with its mean accuracy on each target."""
    return [
        {
            "encoder": encoder.name,
            "features": found[next(iter(found))][0]["feature dimension"][i],
            "parameters": encoder.parameters,
            **{
                truth: {
                    name: spread([float(f[truth][i] or 0) for f in by_seed])["mean"]
                    for name, by_seed in found.items()
                    if by_seed[0][truth][i] is not None
                }
                for truth in ("frozen", "fine-tuned")
            },
        }
        for i, encoder in enumerate(encoders)
    ]


def _photographs() -> dict[str, Any]:
    """Ten cuts of one network's features on CIFAR-10."""
    test, learnt = _sets.cifar("test"), _sets.cifar("train")
    axes = principal(learnt.x[:: len(learnt) // 2000]).basis
    columns = np.random.default_rng(0).permutation(axes.shape[0])
    cuts: list[Encoder] = [Encoder("whole", lambda x: x)]
    for d in (8, 32, 128, 512):
        cuts.append(Encoder(f"{d} axes", partial(_onto, axes=axes[:, :d])))
    for d in (16, 64, 256, 640):
        cuts.append(Encoder(f"{d} columns", partial(_picked, columns=columns[:d])))
    cuts.append(Encoder("axes 65-320", partial(_onto, axes=axes[:, 64:320])))
    found = {"CIFAR-10": [_figures(cuts, test, seed) for seed in range(SEEDS)]}
    where = "CIFAR-10, ten cuts of one network"
    return {
        "tables": [_table(where, found, "frozen")],
        "bootstrap, cuts of one network": _bootstrap(found, "frozen"),
        "cuts": _listing(cuts, found),
    }


def _onto(x: Features, axes: NDArray[np.float64]) -> Features:
    return np.asarray(x @ axes, np.float32)


def _picked(x: Features, columns: Labels) -> Features:
    return np.asarray(x[:, columns], np.float32)


def _small() -> tuple[tuple[Encoder, ...], Data]:
    encoders = (
        Encoder("pixels 8", lambda x: x),
        Encoder("8 axes", partial(_onto, axes=principal(_sets.digits().x).basis[:, :8])),
        Encoder("4 columns", partial(_picked, columns=np.array([20, 21, 36, 42]))),
    )
    return encoders, _sets.digits()


def _told(where: str, encoders: tuple[Encoder, ...], data: Data) -> dict[str, Any]:
    found = {"digits": [_figures(encoders, data, seed) for seed in range(2)]}
    tables = [_table(where.format("three encoders"), found, "frozen"), _times(found)]
    listing = _listing(encoders, found)
    return {"tables": tables, "bootstrap": _bootstrap(found, "frozen"), "encoders": listing}
