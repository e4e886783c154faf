"""The recipes that are compared: what each one is, and the options of ``geop2p train`` for it.

One plain table. Epochs, seed and device are not in it: they are those of the comparison, the same
for all. Everything that a line does not name has the value of `geop2p.train`, which is the paper's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NETWORK = {"arch": "unet_256", "ngf": 32, "max_channels": 160, "ndf": 16}
"""That of the bundled model: 12 MB in half precision."""
STEADY = NETWORK | {
    "batch_size": 4,
    "lr": 4e-4,
    "load_size": 0,
    "augment": "dihedral",
    "freeze_norm_epochs": 1,
}
"""Norm statistics that hold, and pairs at their own scale, turned every way."""

CLASSES = STEADY | {
    "lambda_gan": 0.0,
    "lambda_ce": 10.0,
    "class_weights": "inverse-sqrt",
    "ema": 0.99,
}
"""What each pixel's class is stands beside L1, rare classes count more, weights are averaged."""
JUDGED = CLASSES | {"lambda_gan": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One line of the comparison.

    Parameters
    ----------
    name : str
        Also that of the run's folder.
    what : str
        What it is, in a few words, for the table.
    options : mapping
        Keyword options of `geop2p.train`.
    drawn : mapping
        Keyword options of `geop2p.evaluate`, where maps of the scene are drawn in another way.
    trained_as : str
        The variant whose run it shares, where only the drawing differs.
    """

    name: str
    what: str
    options: Mapping[str, Any]
    drawn: Mapping[str, Any] = field(default_factory=dict)
    trained_as: str = ""

    @property
    def run_name(self) -> str:
        """Name of the run whose model is drawn."""
        return self.trained_as or self.name


VARIANTS = (
    Variant(name="paper", what="the paper's recipe", options=NETWORK),
    Variant(name="l1", what="paper, L1 alone", options=NETWORK | {"lambda_gan": 0.0}),
    Variant(
        name="steady",
        what="batch 4, own scale, turned by quarters, statistics frozen in the last epoch",
        options=STEADY,
    ),
    Variant(name="ce", what="steady, L1 and classes, averaged, no discriminator", options=CLASSES),
    Variant(
        name="ce-tta",
        what="the same, drawn with --tta",
        options=CLASSES,
        drawn={"tta": True},
        trained_as="ce",
    ),
    Variant(name="ce-gan", what="ce with the discriminator", options=JUDGED),
    Variant(
        name="ce-unweighted",
        what="ce, all classes of one weight",
        options=CLASSES | {"class_weights": "none"},
    ),
    Variant(name="ce-last", what="ce, weights not averaged", options=CLASSES | {"ema": 0.0}),
    Variant(
        name="ce-light",
        what="ce, classes weighted 2 in place of 10",
        options=CLASSES | {"lambda_ce": 2.0},
    ),
    Variant(name="gan-hinge", what="ce-gan, hinge", options=JUDGED | {"gan_mode": "hinge"}),
    Variant(name="gan-lsgan", what="ce-gan, least squares", options=JUDGED | {"gan_mode": "lsgan"}),
    Variant(
        name="gan-spectral",
        what="ce-gan, hinge, spectral norm",
        options=JUDGED | {"gan_mode": "hinge", "spectral_norm": True},
    ),
    Variant(
        name="gan-scales",
        what="ce-gan, two scales, feature matching",
        options=JUDGED | {"scales": 2, "lambda_fm": 10.0},
    ),
    Variant(
        name="gan-diffaug",
        what="ce-gan, disguised pairs",
        options=JUDGED | {"diffaug": "colour+translation+cutout"},
    ),
    Variant(
        name="ce-balanced",
        what="ce, pairs with rare classes drawn more often",
        options=CLASSES | {"sampling": "balanced"},
    ),
    Variant(
        name="ce-jitter",
        what="ce, scale and colours jittered by a tenth",
        options=CLASSES | {"jitter_scale": 0.1, "jitter_colour": 0.1},
    ),
    Variant(
        name="ce-cosine",
        what="ce, the rate falls as a cosine",
        options=CLASSES | {"schedule": "cosine"},
    ),
    Variant(
        name="ce-attention",
        what="ce, self-attention at a sixteenth of the tile's side",
        options=CLASSES | {"attention": 16},
    ),
    Variant(
        name="ce-resize",
        what="ce, resizing in place of transposed convolutions",
        options=CLASSES | {"upsample": "resize"},
    ),
    Variant(
        name="ce-resnet",
        what="ce, a ResNet of 6 blocks, ngf 11, as much work a tile; for `--blend exact`",
        options=CLASSES | {"arch": "resnet_6blocks", "ngf": 11, "max_channels": None},
    ),
)
