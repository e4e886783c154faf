"""Colour jitter: a scene as another day, another sensor or another processing would show it.

Only the generator's input is changed. Each picture of a batch has a brightness, a contrast and a
saturation of its own. They are drawn from (seed, epoch, step) and the place in the batch, which
(seed, epoch, index of the pair) decides.

References
----------
Howard: Some Improvements on Deep Convolutional Neural Network Based Image Classification, 2013
(arXiv:1312.5402), section 2.2.
"""

import numpy as np
import torch
from torch import Tensor

from geop2p.streams import Stream
from geop2p.transfer import sent


def jitter_colours(pictures: Tensor, strength: float, *, key: tuple[int, int, int]) -> Tensor:
    """Return pictures of other colours: (N, C, H, W) float32 in [-1, 1], excess cut.

    The distance of each pixel's bands to their mean is multiplied by the saturation, then that of
    each value to the picture's mean by the contrast, both within 1 - strength to 1 + strength; then
    the brightness is added, within -strength to strength. One band has no saturation.

    Parameters
    ----------
    strength : float
        0 returns the pictures themselves.
    key : (int, int, int)
        Seed, epoch, step.
    """
    if not strength:
        return pictures
    random = np.random.default_rng((Stream.COLOURS, *key))
    drawn = random.uniform(-strength, strength, (len(pictures), 3)).astype(np.float32)
    factors = sent(drawn, pictures.device)
    saturation, contrast, brightness = factors.view(-1, 3, 1, 1, 1).unbind(1)
    grey = pictures.mean(dim=1, keepdim=True)
    pictures = torch.lerp(grey, pictures, 1 + saturation)
    middle = pictures.mean(dim=(1, 2, 3), keepdim=True)
    return (torch.lerp(middle, pictures, 1 + contrast) + brightness).clamp(-1, 1)
