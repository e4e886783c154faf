"""Cross-entropy on the palette: a drawn colour is read as a guess of the pixel's class.

The logit of a class is minus the squared distance of the drawn colour to the class's colour, over a
temperature. So each colour is pulled towards that of its true class and away from those of classes
that it could be taken for, where L1 asks for the median of what is possible.

References
----------
Bridle: Probabilistic Interpretation of Feedforward Classification Network Outputs, 1990, for the
softmax of distances to class means.
Snell, Swersky, Zemel: Prototypical Networks for Few-shot Learning, NeurIPS 2017 (arXiv:1703.05175),
section 2.3, for squared Euclidean distances as logits.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geop2p.card import Scaling
from geop2p.palette import Palette

SAME_COLOUR = 0.5
"""Grey levels: colours this near to each other are one."""
LEAST_SHARE = 1e-4
"""Of all pixels: a class that is rarer counts as if it were this frequent."""


def _equal(shares: Tensor) -> Tensor:
    return torch.ones_like(shares)


def _inverse_sqrt(shares: Tensor) -> Tensor:
    weights = shares.clamp(min=LEAST_SHARE).rsqrt()
    return weights / (weights * shares).sum()


CLASS_WEIGHTS = {"none": _equal, "inverse-sqrt": _inverse_sqrt}
"""``none``: every pixel counts the same; ``inverse-sqrt``: as the inverse root of its class's share
of the training pixels, 1 in the mean over these pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTask:
    """The classes of a map as the objective knows them.

    Parameters
    ----------
    colours : (K, 3) float32
        Of the classes that are scored, in [-1, 1].
    ignored : (I, 3) float32
        Colours that only classes have that are not scored; their pixels do not count.
    weights : (K,) float32
        By which a pixel counts, by its true class.
    same : float
        In units of [-1, 1]: colours this near to each other are one.
    """

    colours: Tensor
    ignored: Tensor
    weights: Tensor
    same: float

    @classmethod
    def of_palette(cls, palette: Palette, scaling: Scaling) -> "ClassTask":
        """Return the classes of a palette for maps of a scaling, all of one weight."""
        scored = [entry.colour for entry in palette.classes if entry.is_scored]
        others = {entry.colour for entry in palette.classes if not entry.is_scored}
        span = (scaling.high - scaling.low) / 2
        colours, ignored = (
            torch.tensor(each, dtype=torch.float32).view(-1, 3).sub(scaling.low).div(span).sub(1)
            for each in (scored, sorted(others - set(scored)))
        )
        return cls(
            colours=colours,
            ignored=ignored,
            weights=torch.ones(len(colours)),
            same=SAME_COLOUR / span,
        )

    def with_weights(self, weights: Tensor) -> "ClassTask":
        """Return the same classes with other weights, (K,)."""
        return ClassTask(
            colours=self.colours, ignored=self.ignored, weights=weights.float(), same=self.same
        )

    def to(self, device: torch.device) -> "ClassTask":
        """Return the same on a device."""
        return ClassTask(
            colours=self.colours.to(device),
            ignored=self.ignored.to(device),
            weights=self.weights.to(device),
            same=self.same,
        )

    def closeness(self, picture: Tensor) -> Tensor:
        """Return minus the squared distance to each colour, but for a term that all classes share.

        (N, 3, H, W) in [-1, 1] to (N, K, H, W): ``2 c . c_k - |c_k|**2``.
        """
        kernel = 2 * self.colours.view(-1, 3, 1, 1)
        return F.conv2d(picture.float(), kernel, -self.colours.square().sum(dim=1))

    def classes(self, truth: Tensor) -> Tensor:
        """Return the class of the nearest colour at each pixel: (N, 3, H, W) to (N, H, W) int64."""
        return self.closeness(truth).argmax(dim=1)

    def is_counted(self, truth: Tensor) -> Tensor:
        """Return where (N, 3, H, W) has none of the ignored colours, (N, H, W) bool."""
        counted = torch.ones_like(truth[:, 0], dtype=torch.bool)
        for colour in self.ignored:
            counted &= ((truth - colour.view(1, 3, 1, 1)).abs() > self.same).any(dim=1)
        return counted


def class_shares(task: ClassTask, maps: Iterable[Tensor]) -> Tensor:
    """Return the share of each class among the counted pixels of (N, 3, H, W) maps, (K,) float64.

    Post-condition: they sum to 1; where no pixel counts, all are equal.
    """
    counts = torch.zeros(len(task.colours), dtype=torch.float64)
    for truth in maps:
        found = task.classes(truth)[task.is_counted(truth)]
        counts += torch.bincount(found, minlength=len(counts))
    total = counts.sum()
    return counts / total if total else torch.full_like(counts, 1 / len(counts))


def class_loss(generated: Tensor, truth: Tensor, *, task: ClassTask, temperature: float) -> Tensor:
    """Return the cross-entropy of the classes that a picture's colours stand for.

    It is computed in float32; a GPU may round the factors of its products to TF32, torch's default
    for convolutions.

    Parameters
    ----------
    generated, truth : (N, 3, H, W) float
        In [-1, 1]; the true class is that of the nearest colour.
    temperature : float
        In squared units of [-1, 1], above 0: two colours whose squared distances differ by it are
        told apart with odds of e to 1.

    Returns
    -------
    () float32
        Mean over all pixels, each by its class's weight, and 0 for those that do not count.
    """
    classes = task.classes(truth)
    entropy = F.cross_entropy(task.closeness(generated) / temperature, classes, reduction="none")
    weights = task.weights[classes] * task.is_counted(truth)
    return (entropy * weights).mean()
