"""The recipes that are compared: what each one is, and the options of ``geop2p train`` for it.

One plain table. Epochs, seed and device are not in it: they are those of the comparison, the same
for all. Everything that a line does not name has the value of `geop2p.train`, which is the paper's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NETWORK = {"arch": "unet_256", "ngf": 32, "max_channels": 160, "ndf": 16}
"""That of `streets` and `roads`: 12 MB in half precision."""
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
LIGHT = CLASSES | {"lambda_ce": 2.0}
"""The same with colours as the greater part of the loss; what comes after it was tried on this."""
JUDGED = LIGHT | {"lambda_gan": 1.0}
SLIM = JUDGED | {"ngf": 16, "max_channels": 80}
"""A quarter of the work a tile."""


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
    teacher : str
        The variant whose model, of the same seed, is its teacher.
    pairs : str
        What follows the name of the pairs' folder, where it wants pairs of its own.
    """

    name: str
    what: str
    options: Mapping[str, Any]
    drawn: Mapping[str, Any] = field(default_factory=dict)
    trained_as: str = ""
    teacher: str = ""
    pairs: str = ""

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
    Variant(name="steady-ema", what="steady, averaged", options=STEADY | {"ema": 0.99}),
    Variant(
        name="steady-l1",
        what="steady, averaged, L1 alone",
        options=STEADY | {"ema": 0.99, "lambda_gan": 0.0},
    ),
    Variant(name="ce", what="steady, L1 and classes, averaged, no discriminator", options=CLASSES),
    Variant(
        name="ce-tta",
        what="the same, drawn with --tta",
        options=CLASSES,
        drawn={"tta": True},
        trained_as="ce",
    ),
    Variant(name="light", what="ce, classes weighted 2 in place of 10", options=LIGHT),
    Variant(
        name="light-tta",
        what="the same, drawn with --tta",
        options=LIGHT,
        drawn={"tta": True},
        trained_as="light",
    ),
    Variant(name="light-gan", what="light with the discriminator", options=JUDGED),
    Variant(
        name="light-unweighted",
        what="light, all classes of one weight",
        options=LIGHT | {"class_weights": "none"},
    ),
    Variant(name="light-last", what="light, weights not averaged", options=LIGHT | {"ema": 0.0}),
    Variant(
        name="gan-unweighted",
        what="light-gan, all classes of one weight",
        options=JUDGED | {"class_weights": "none"},
    ),
    Variant(
        name="gan-soft",
        what="light-gan, a softer and heavier class loss: weight 5, temperature 0.5",
        options=JUDGED | {"lambda_ce": 5.0, "ce_temperature": 0.5},
    ),
    Variant(name="gan-hinge", what="light-gan, hinge", options=JUDGED | {"gan_mode": "hinge"}),
    Variant(
        name="gan-lsgan", what="light-gan, least squares", options=JUDGED | {"gan_mode": "lsgan"}
    ),
    Variant(
        name="gan-spectral",
        what="light-gan, hinge, spectral norm",
        options=JUDGED | {"gan_mode": "hinge", "spectral_norm": True},
    ),
    Variant(
        name="gan-spectral-cosine",
        what="gan-spectral, the rate falls as a cosine",
        options=JUDGED | {"gan_mode": "hinge", "spectral_norm": True, "schedule": "cosine"},
    ),
    Variant(
        name="gan-scales",
        what="light-gan, two scales, feature matching",
        options=JUDGED | {"scales": 2, "lambda_fm": 10.0},
    ),
    Variant(
        name="gan-diffaug",
        what="light-gan, disguised pairs",
        options=JUDGED | {"diffaug": "colour+translation+cutout"},
    ),
    Variant(
        name="light-balanced",
        what="light, pairs with rare classes drawn more often",
        options=LIGHT | {"sampling": "balanced"},
    ),
    Variant(
        name="light-jitter",
        what="light, scale and colours jittered by a tenth",
        options=LIGHT | {"jitter_scale": 0.1, "jitter_colour": 0.1},
    ),
    Variant(
        name="light-cosine",
        what="light, the rate falls as a cosine",
        options=LIGHT | {"schedule": "cosine"},
    ),
    Variant(
        name="light-attention",
        what="light, self-attention at a sixteenth of the tile's side",
        options=LIGHT | {"attention": 16},
    ),
    Variant(
        name="light-resize",
        what="light, resizing in place of transposed convolutions",
        options=LIGHT | {"upsample": "resize"},
    ),
    Variant(
        name="gan-512",
        what="light-gan, views of 512 pixels one at a time, as many pixels in all",
        options=JUDGED | {"crop_size": 512, "batch_size": 1},
        pairs="512",
    ),
    Variant(name="slim", what="light-gan, ngf 16, at most 80 channels", options=SLIM),
    Variant(
        name="slim-taught",
        what="slim, taught by light-gan",
        options=SLIM | {"lambda_distill": 50.0},
        teacher="light-gan",
    ),
    Variant(
        name="light-resnet",
        what="light, a ResNet of 6 blocks, ngf 11, as much work a tile; for `--blend exact`",
        options=LIGHT | {"arch": "resnet_6blocks", "ngf": 11, "max_channels": None},
    ),
    Variant(
        name="gan-resnet",
        what="light-resnet with the discriminator",
        options=JUDGED | {"arch": "resnet_6blocks", "ngf": 11, "max_channels": None},
    ),
)
