"""What an evaluation found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateReport:
    """What an evaluation found.

    Parameters
    ----------
    kind : str
        ``pairs`` or ``scene``.
    model : str
        Name of the model.
    against : str or None
        Name of the model that it was compared with.
    version : str
        Of geop2p.
    data : dict
        What was scored: ``scene`` and ``truth``, or ``pairs``, ``split``, ``direction`` and
        ``load_size``; ``palette`` and ``style`` where they were given, else null.
    drawn : dict
        By model, ``model`` and ``against``, who drew the maps and how: ``name``, ``path``,
        ``sha256`` of the file, ``statistics``, ``engine``, ``precision``, ``device``, ``tile``; of
        a scene ``overlap``, ``blend`` and ``tta``, null for pairs.
    statistics : str
        Of the model's norm layers: ``running``, ``tile`` or ``training``.
    items : int
        Pairs, or squares of 256 pixels of the scene, with something to compare.
    pixels : int
        Pixels that were compared.
    accuracy_pixels : int or None
        Those of them whose true class is scored: accuracy, IoU and F1 are of these. null without a
        palette.
    scores : dict
        Figures of the model: ``l1``, ``rmse`` (native values), ``psnr_db``, ``ssim``, ``ms_ssim``,
        ``within_5``, ``within_10``; with a palette ``accuracy``, ``mean_iou``, ``mean_f1`` and
        ``classes``: name to ``accuracy``, ``iou``, ``f1``. null where there is none.
    intervals : dict
        Of each figure the 95 % bootstrap interval over items, [low, high].
    modes : dict
        Scores by mode of the norm layers, all of maps in one precision, and those of
        ``mean_colour``, one colour everywhere.
    modes_precision : str or None
        That precision: ``fp32`` beside a map in int8, else the map's; null where no other mode was
        scored.
    statistics_gap : dict
        Scores with kept statistics less those with each tile's own; empty where not scored.
    against_scores : dict
        Figures of the other model; empty without one.
    differences : dict
        Model less other model, of each figure ``difference``, ``low`` and ``high``: the paired 95 %
        bootstrap interval; empty without one.
    inception : dict
        By model ``fid``, ``kid``, ``inception_score`` and ``pictures``; empty without a network.
    seams : dict
        By model the seams of its map; empty for pairs.
    shown : dict
        ``best``, ``median`` and ``worst`` items by L1: ``name`` and ``l1`` of each.
    map_path, page : str or None
        What was kept.
    seconds : float
        Wall time.
    """

    kind: str
    model: str
    against: str | None
    version: str
    data: Mapping[str, Any]
    drawn: Mapping[str, Any]
    statistics: str
    items: int
    pixels: int
    accuracy_pixels: int | None
    scores: Mapping[str, Any]
    intervals: Mapping[str, Any]
    modes: Mapping[str, Any]
    modes_precision: str | None
    statistics_gap: Mapping[str, float | None]
    against_scores: Mapping[str, Any]
    differences: Mapping[str, Any]
    inception: Mapping[str, Any]
    seams: Mapping[str, Any]
    shown: Mapping[str, Any]
    map_path: str | None
    page: str | None
    seconds: float
