"""Evaluate: how close a model's maps are to the truth, on pairs or on a whole scene.

read models -> draw maps -> rows of sums -> figures, intervals -> page
"""

import logging
import time
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from geop2p.bootstrap import Figures, intervals
from geop2p.generator import torch_left_alone
from geop2p.pipelines.evaluation_items import (
    Contender,
    Floats,
    Measured,
    read_contenders,
)
from geop2p.pipelines.evaluation_page import write_page
from geop2p.pipelines.evaluation_provenance import data_of
from geop2p.pipelines.evaluation_report import EvaluateReport
from geop2p.pipelines.evaluation_request import EvaluateOptions, Evaluation
from geop2p.pipelines.pair_evaluation import choose_pairs, measure_pairs
from geop2p.pipelines.scene_evaluation import measure_scene
from geop2p.scores import COLUMNS, classified, figures, nested, plain
from geop2p.version import __version__
from geop2p.writing import temporary_folder

logger = logging.getLogger(__name__)

SHOWN = 3
"""Items of each kind that are named and shown."""


def evaluate(**options: Unpack[EvaluateOptions]) -> EvaluateReport:
    """Score a model's maps of pairs, or of a whole scene, against the truth.

    Give ``pairs``, or ``scene`` and ``truth``; ``model`` is the bundled one unless given.

    Parameters
    ----------
    **options
        See `EvaluateOptions`.

    Raises
    ------
    OptionError, SceneError, ModelError, OutputError
        See `geop2p.errors`; each names the file, what was found and what to do.
    """
    start = time.perf_counter()
    asked = Evaluation.of(options)
    contenders = read_contenders(asked)
    with torch_left_alone(), temporary_folder() as folder:
        if asked.is_scene:
            measured = measure_scene(asked, contenders, folder)
        else:
            _tell_of_split(asked)
            measured = measure_pairs(asked, contenders)
        report = _report(asked, contenders, measured, start=start)
        if asked.page is not None:
            write_page(asked.page, report, measured)
    return report


def _tell_of_split(asked: Evaluation) -> None:
    note = choose_pairs(asked)[1]
    if note:
        logger.warning("%s: %s", asked.pairs, note)


def _report(
    asked: Evaluation, contenders: list[Contender], measured: Measured, *, start: float
) -> EvaluateReport:
    used = contenders[0]
    table = measured.tables["model"]
    scores = {key: _scores(measured, rows) for key, rows in measured.tables.items()}
    modes = {used.statistics: scores["model"]}
    modes |= {key: scores[key] for key in scores if key not in ("model", "against")}
    other = measured.tables.get("against")
    return EvaluateReport(
        kind="scene" if asked.is_scene else "pairs",
        model=used.card.name,
        against=contenders[1].card.name if other is not None else None,
        version=__version__,
        data=data_of(asked, contenders),
        drawn=measured.drawn,
        statistics=used.statistics,
        items=int((_pixels(table) > 0).sum()),
        pixels=int(_pixels(table).sum()),
        accuracy_pixels=None if measured.palette is None else classified(table),
        scores=scores["model"],
        intervals=_intervals(measured, asked),
        modes=modes,
        modes_precision=measured.modes_precision,
        statistics_gap=_gap(modes),
        against_scores=scores.get("against", {}),
        differences={} if other is None else _differences(measured, other, asked),
        inception=measured.inception,
        seams=measured.seams,
        shown=shown_items(measured),
        map_path=None if asked.map_path is None else str(asked.map_path),
        page=None if asked.page is None else str(asked.page),
        seconds=round(time.perf_counter() - start, 3),
    )


def shown_items(measured: Measured) -> dict[str, list[dict[str, Any]]]:
    """Return best, median and worst items by L1, of those that are at least half full."""
    table = measured.tables["model"]
    pixels = _pixels(table)
    full = np.flatnonzero((pixels > 0) & (pixels * 2 >= pixels.max()))
    l1 = figures(table, scaling=measured.scaling, palette=None)["l1"]
    order = full[np.argsort(l1[full], kind="stable")]
    count = min(SHOWN, max(1, len(order) // 3))
    middle = max(0, (len(order) - count) // 2)
    chosen = {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[::-1][:count],
    }
    return {
        kind: [
            {"item": int(i), "name": measured.names[i], "l1": plain(l1[i])} for i in found.tolist()
        ]
        for kind, found in chosen.items()
    }


def _pixels(table: Floats) -> Floats:
    return table[:, COLUMNS.index("pixels")]


def _figures(measured: Measured, rows: Floats) -> Figures:
    return figures(rows, scaling=measured.scaling, palette=measured.palette)


def _scores(measured: Measured, table: Floats) -> dict[str, Any]:
    found = _figures(measured, table.sum(axis=0, keepdims=True))
    return nested({name: plain(values[0]) for name, values in found.items()})


def _intervals(measured: Measured, asked: Evaluation) -> dict[str, Any]:
    table = _full(measured.tables["model"], measured.tables["model"])
    found = intervals(
        lambda weights: _figures(measured, weights @ table),
        items=len(table),
        draws=asked.draws,
        seed=asked.seed,
    )
    return nested({name: _plain_pair(pair) for name, pair in found.items()})


def _differences(measured: Measured, other: Floats, asked: Evaluation) -> dict[str, Any]:
    """Return model less other model, each figure with its paired interval."""
    table = _full(measured.tables["model"], measured.tables["model"])
    rival = _full(other, measured.tables["model"])

    def difference(weights: Floats) -> Figures:
        one, two = (_figures(measured, weights @ rows) for rows in (table, rival))
        return {name: one[name] - two[name] for name in one}

    observed = difference(np.ones((1, len(table))))
    spans = intervals(difference, items=len(table), draws=asked.draws, seed=asked.seed)
    return nested(
        {
            name: {
                "difference": plain(values[0]),
                "low": plain(spans[name][0]),
                "high": plain(spans[name][1]),
            }
            for name, values in observed.items()
        }
    )


def _full(table: Floats, judge: Floats) -> Floats:
    """Return the rows of items in which there was something to compare."""
    return table[_pixels(judge) > 0]


def _gap(modes: Mapping[str, Any]) -> dict[str, float | None]:
    if "running" not in modes or "tile" not in modes:
        return {}
    kept, own = modes["running"], modes["tile"]
    return {
        name: None if kept[name] is None or own[name] is None else plain(kept[name] - own[name])
        for name in kept
        if name != "classes"
    }


def _plain_pair(pair: tuple[float, float]) -> list[float | None]:
    return [plain(value) for value in pair]
