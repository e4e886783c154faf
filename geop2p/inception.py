"""FID, KID and Inception Score, from an Inception network in a TorchScript file.

The file is the one that tools for FID share: called with pictures of (N, 3, H, W) uint8 of any size
it resizes them itself and returns class probabilities, with ``return_features=True`` 2,048
features. It holds a program, which torch runs: take it from a source that you trust.

References
----------
Heusel et al.: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium,
2017, section 2 (FID).
Binkowski et al.: Demystifying MMD GANs, 2018, section 3, appendix E (KID: cubic kernel, subsets).
Salimans et al.: Improved Techniques for Training GANs, 2016, section 4 (Inception Score).
"""

import math
import os
import warnings
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from geop2p.errors import ModelError
from geop2p.signatures import special_kind

FEATURES = 2048
LEAST_PICTURES = 10
"""Of each kind; with fewer the figures mean nothing at all."""
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
SPLITS = 10
"""Of the Inception Score, as in its paper."""
LOAD_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, OSError)


class Inception:
    """The network; raises `ModelError` for a file that is none.

    Parameters
    ----------
    path : path
        The TorchScript file.
    device : str
        Where it runs.
    features : int
        How many it must return.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, device: str = "cpu", features: int = FEATURES
    ) -> None:
        kind = special_kind(Path(path))
        if kind is not None:
            raise ModelError(f"{path}: is {kind} (expected a TorchScript Inception network)")
        self._device, self.features = device, features
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as a whole
                network = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
                self._network = network.eval()
            found, probabilities = self(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
        except LOAD_ERRORS as exc:
            # what torch's reader says of other files is several sentences about its own insides
            is_foreign = not is_zipfile(path) or "PytorchStreamReader" in str(exc)
            reasons = str(exc).strip().splitlines()[-1:]
            raise _unfit(path, ["not of that format"] if is_foreign else reasons) from exc
        if found.shape != (2, features) or probabilities.ndim != 2:
            raise _unfit(path, [f"it returns {tuple(found.shape)} for 2 pictures"])

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 2048) and class probabilities (N, classes) of (N, 3, H, W) uint8."""
        pictures = pictures.to(self._device)
        features = self._network(pictures, return_features=True).float().cpu()
        return features, self._network(pictures).float().cpu()


class InceptionScores:
    """Collects pairs of maps, and scores made ones against true ones.

    The features of all pictures stay in memory, 16 KiB a pair; at 256 x 256 pixels a pair has 384.
    """

    def __init__(self, network: Inception, *, seed: int = 0) -> None:
        self._network = network
        self._seed = seed
        self._made: list[Tensor] = []
        self._real: list[Tensor] = []
        self._logits: list[Tensor] = []

    def add(self, made: Tensor, real: Tensor) -> None:
        """Count a batch of maps, both (N, 3, H, W) uint8."""
        features, probabilities = self._network(made)
        self._made.append(features)
        self._logits.append(probabilities.clamp(min=1e-12).log())
        self._real.append(self._network(real)[0])

    def scores(self) -> dict[str, Any]:
        """Return ``fid``, ``kid``, ``inception_score`` and how many ``pictures``.

        The figures are None where there are too few pictures.
        """
        count = sum(len(features) for features in self._made)
        if count < LEAST_PICTURES:
            return {"pictures": count, "fid": None, "kid": None, "inception_score": None}
        made, real, shown = torch.cat(self._made), torch.cat(self._real), self._network.features
        size = min(KID_SUBSET_SIZE, count)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            fid: Metric = FrechetInceptionDistance(_Features(shown))
            subsets = KID_SUBSETS if size < count else 1
            kid = _quietly(
                KernelInceptionDistance, _Features(shown), subset_size=size, subsets=subsets
            )
            for distance in (fid, kid):
                distance.update(made, real=False)
                distance.update(real, real=True)
            score = _quietly(InceptionScore, _Features(shown), splits=SPLITS)
            score.update(torch.cat(self._logits))
            found = {
                "fid": float(fid.compute()),
                "kid": float(kid.compute()[0]),
                "inception_score": float(score.compute()[0]),
            }
        return {"pictures": count} | {
            name: round(value, 4) if math.isfinite(value) else None for name, value in found.items()
        }


class _Features(nn.Module):
    """Stands for the network in metrics that are given its features."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        """Return what came in."""
        return features


def _quietly(metric: Any, *args: Any, **kwargs: Any) -> Metric:  # noqa: ANN401  torchmetrics
    """Return a metric without its warning that it keeps features: that is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return metric(*args, **kwargs)


def _unfit(path: str | os.PathLike[str], reasons: list[str]) -> ModelError:
    reason = reasons[0] if reasons else "it does not run"
    return ModelError(
        f"{path}: is no TorchScript Inception network: {reason} (expected the file that tools for "
        "FID share, inception-2015-12-05.pt)"
    )
