"""Logistic regression over all classes at once, its strength chosen on held-out folds.

David R. Cox, 1958, The Regression Analysis of Binary Sequences, doi:10.1111/j.2517-6161.1958.tb00292.x;
the bound that scales the steps: Dankmar Böhning, 1992, Multinomial logistic regression algorithm,
doi:10.1007/BF00048682.

    minimise  sum_i -log softmax(W x_i + b)[y_i] + |W|^2 / (2 C)

In the principal axes of x the Hessian is close to `p_c (1 - p_c) s_j + 1 / C` for class c and axis
j with sum of squares s_j, which is the diagonal that L-BFGS starts from. The path runs from strong
to weak, each solution starting at the one before, all folds in one matrix product, until the
held-out log loss has clearly turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk import folds
from ilk.axes import principal
from ilk.data import Data
from ilk.lbfgs import descend
from ilk.models import Facts, Linear, learnable

PATH = np.logspace(-4, 4, 17)  # of C times the mean variance of a feature
CHUNK = 4096
NEVER = np.float32(-1e30)  # the logit of a class that a fold does not train on


@dataclass(frozen=True)
class LogisticRegression(Facts):
    """Multinomial logistic regression with an L2 penalty; the intercept goes free.

    Attributes:
        C: Inverse strength of the penalty, > 0, as in scikit-learn. None: the best held-out log
            loss on a path of 17 strengths, 1e-4 to 1e4 over the mean variance of a feature.
        folds: Parts of the training rows that choose `C`.
        seed: Draws the folds.
    """

    C: float | None = None
    folds: int = 5
    seed: int = 0

    def fit(self, data: Data) -> Linear:
        data = learnable(data, self)
        seen = np.flatnonzero(data.counts())
        axes = principal(data.x, np.float32)
        scale = float(np.sqrt(axes.squares.sum() / data.x.size)) or 1.0
        scores = np.hstack([axes.scores / np.float32(scale), np.ones((len(data), 1), np.float32)])
        y = np.searchsorted(seen, data.y)
        if self.C is None:
            start, penalty = self._chosen(scores, y)
        else:
            start, penalty = None, 1 / (self.C * scale**2)
        whole = Softmax(scores, y, np.ones((1, len(y)), bool))
        s0 = whole.start()
        theta = whole.solve(s0 if start is None else start, penalty, 1e-8)[0][0]
        weight, bias = np.zeros((data.k, data.x.shape[1])), np.full(data.k, -np.inf)
        weight[seen] = theta[:, :-1] @ axes.basis.T / scale
        bias[seen] = theta[:, -1]
        return Linear.about(axes.centre, weight, bias)
    
    def _chosen(self, scores: Any, y: Any) -> tuple[Any, float]:
        """Start and penalty of the best held-out log loss; the middle where no fold can be made."""
        if (parts := folds.count(y, self.folds)) < 2:
            return None, 1.0
        part = folds.stratified(y, parts, self.seed)
        cut = Softmax(scores, y, part != np.arange(parts)[:, None])
        thetas, best, lost = cut.start(), None, []
        for strength in PATH:
            thetas, loss = cut.solve(thetas, 1 / strength, TOL)
            lost.append(loss)
            if VERBOSE: print(strength, loss, cut.evals)
            if loss <= min(lost):
                best = thetas.mean(0, keepdims=True), 1 / strength
            if min(lost[-2:]) > 1.01 * min(lost):
                break
        return best
TOL=1e-4
VERBOSE=0

@dataclass(frozen=True, eq=False)
class Softmax:
    """Several fits on parts of the same rows, walked together.

    Attributes:
        scores: Rows in principal axes with a last column of ones, `[n, r + 1]` float32.
        y: Classes, `[n]`, each of 0 … k-1 taken at least once.
        train: Which rows each fit learns from, `[fits, n]`.
    """

    scores: NDArray[np.float32]
    y: NDArray[np.int64]
    train: NDArray[np.bool_]

    def start(self):
        self.__dict__['evals']=0
        k = int(self.y.max()) + 1
        counts = np.stack([np.bincount(self.y[t], minlength=k) for t in self.train])
        self.__dict__['absent']= counts == 0
        thetas = np.zeros((len(self.train), k, self.scores.shape[1]))
        thetas[:, :, -1] = np.log(np.maximum(counts, 1) / counts.sum(1, keepdims=True))
        return thetas

    def solve(self, thetas, penalty, tolerance):
        """Lowest points, `[fits, k, r + 1]`, and the mean log loss of rows held out."""
        k = thetas.shape[1]
        _, _, _, spread = self.evaluate(thetas, np.arange(len(thetas)), penalty, True)
        squares = np.einsum("ij,ij->j", self.scores, self.scores, dtype=np.float64)/len(self.y)
        curvature = spread[:, :, None] * squares + penalty
        curvature[:,:,-1] -= penalty
        curvature = np.maximum(curvature, 1e-6*curvature.max())
        walks = [descend(t, c, tolerance) for t, c in zip(thetas, curvature)]
        at = [next(w) for w in walks]
        held = np.zeros(len(walks)); heldn = 0
        active = list(range(len(walks)))
        while active:
            v, g, h, _ = self.evaluate(np.stack([at[i] for i in active]), np.array(active), penalty)
            going = []
            for i, value, gradient, out in zip(active, v, g, h):
                held[i] = out
                try:
                    at[i] = walks[i].send((value, gradient))
                    going.append(i)
                except StopIteration as done:
                    at[i] = done.value
            active = going
        y_absent = self.absent[:, self.y]
        n_held = (~self.train & ~y_absent).sum()
        return np.stack(at), held.sum() / max(n_held,1)

    def evaluate(self, thetas, which, penalty, curv=False):
        self.__dict__['evals'] += len(which)
        a, k, r = thetas.shape
        flat = thetas.reshape(a * k, r).astype(np.float32)
        value = 0.5 * penalty * np.einsum("akr,akr->a", thetas[:,:,:-1], thetas[:,:,:-1])
        gradient = np.zeros((a*k, r))
        held = np.zeros(a); spread = np.zeros((a,k))
        never = np.where(self.absent[which], NEVER, np.float32(0))[:, :, None]
        anynever = self.absent[which].any()
        for s in range(0, len(self.y), CHUNK):
            z = self.scores[s:s+CHUNK]; y = self.y[s:s+CHUNK]
            mask = self.train[which, s:s+CHUNK]
            p = (flat @ z.T).reshape(a, k, len(z))
            if anynever: p += never
            p -= p.max(1, keepdims=True)
            row = np.arange(len(z))
            true = p[:, y, row]
            np.exp(p, out=p)
            total = p.sum(1, keepdims=True)
            loss = np.log(total[:,0]) - true
            value += np.where(mask, loss, 0).sum(1, dtype=np.float64)
            known = ~mask & ~self.absent[which][:, y]
            held += np.where(known, loss, 0).sum(1, dtype=np.float64)
            p /= total
            if curv:
                p *= mask[:,None]
                spread += (p*(1-p)).sum(2)
                continue
            p[:, y, row] -= 1
            p *= mask[:, None]
            gradient += p.reshape(a*k, -1) @ z
        gradient = gradient.reshape(a,k,r)
        gradient[:, :, :-1] += penalty * thetas[:, :, :-1]
        return value, gradient, held, spread
