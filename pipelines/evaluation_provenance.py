"""Where scores come from: which models and data, and how the maps were drawn."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from geop2p.pipelines.evaluation_items import Contender, choose_direction
from geop2p.pipelines.evaluation_request import Evaluation
from geop2p.pipelines.planning import Plan
from geop2p.redaction import redacted

Facts = dict[str, Any]


def data_of(asked: Evaluation, contenders: Sequence[Contender]) -> Facts:
    """Return what the models were scored on, without the secrets of URLs."""
    classes = {"palette": _named(asked.palette), "style": _named(asked.style)}
    if asked.is_scene:
        return {"scene": _named(asked.scene), "truth": _named(asked.truth), **classes}
    return {
        "pairs": _named(asked.pairs),
        "split": asked.split,
        "direction": choose_direction(asked, contenders),
        "load_size": asked.load_size,
        **classes,
    }


def drawn_one_by_one(contenders: Sequence[Contender], *, device: str) -> dict[str, Facts]:
    """Return how each model drew pairs: by torch in float32, no tile beside another."""
    how = {"engine": "torch", "precision": "fp32", "device": device}
    tiling = dict.fromkeys(("overlap", "blend", "tta"))
    return {
        entry.key: _model(entry) | how | {"tile": entry.card.tile, **tiling} for entry in contenders
    }


def drawn_by_plans(contenders: Sequence[Contender], plans: Mapping[str, Plan]) -> dict[str, Facts]:
    """Return how each model drew the scene."""
    return {entry.key: _model(entry) | _tiling(plans[entry.key]) for entry in contenders}


def _model(contender: Contender) -> Facts:
    return {
        "name": contender.card.name,
        "path": contender.path,
        "sha256": contender.model.sha256,
        "statistics": contender.statistics,
    }


def _tiling(plan: Plan) -> Facts:
    engine, grid = plan.lane.engine, plan.job.grid
    return {
        "engine": engine.name,
        "precision": engine.precision,
        "device": engine.device,
        "tile": grid.side,
        "overlap": grid.shared,
        "blend": plan.job.blend,
        "tta": plan.request.tta,
    }


def _named(value: object) -> str | None:
    """Return a path, or the kind of what was given in place of one."""
    if value is None:
        return None
    if isinstance(value, (str, os.PathLike)):
        return redacted(os.fspath(value))
    return type(value).__name__.lower()
