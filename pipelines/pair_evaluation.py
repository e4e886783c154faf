"""Pairs evaluated: the maps of scene patches, drawn one by one, beside the true ones.

Patches are drawn by torch in float32, the middle of each as large as the model's tile.
"""

import copy
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geop2p.batches import PairStore, ViewRule, stack, take_pair
from geop2p.card import ModelCard
from geop2p.engines.choice import choose_device
from geop2p.errors import OptionError, PairsError
from geop2p.inception import Inception, InceptionScores
from geop2p.manifest import PALETTE, read_pairs_palette
from geop2p.pairs import Pair, find_pairs
from geop2p.palette import Palette
from geop2p.pipelines.evaluation_items import (
    BASELINE,
    Contender,
    Measured,
    Shown,
    choose_direction,
    choose_palette,
)
from geop2p.pipelines.evaluation_provenance import drawn_one_by_one
from geop2p.pipelines.evaluation_request import Evaluation
from geop2p.progress import Progress
from geop2p.scores import Counter, Patch, picture_row
from geop2p.similarity import scale_count
from geop2p.training import from_unit, to_unit
from geop2p.validation import BATCH, MODES, as_rgb

logger = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The pairs, the networks by what their maps are called, and how both are looked at."""

    asked: Evaluation
    contenders: tuple[Contender, ...]
    pairs: tuple[Pair, ...]
    networks: dict[str, nn.Module]
    modes: dict[str, str]
    palette: Palette | None
    device: torch.device

    @property
    def card(self) -> ModelCard:
        """The first model's; sizes and values are the same in all."""
        return self.contenders[0].card

    def batches(self, indexes: Sequence[int]) -> Iterator[Batch]:
        """Yield scenes and true maps in native values, the middle of each pair.

        Raises
        ------
        PairsError
            When a pair cannot be read, or is not what the model takes.
        """
        is_reversed = choose_direction(self.asked, self.contenders) == "map-to-scene"
        store = PairStore(
            self.pairs, load_size=self.asked.load_size, is_reversed=is_reversed, cache_bytes=0
        )
        rule = ViewRule(augment="none", size=self.card.tile, seed=0)
        for first in range(0, len(indexes), BATCH):
            taken = []
            for index in indexes[first : first + BATCH]:
                self._check(store[index], self.pairs[index])
                taken.append(take_pair(store, index, rule=rule, epoch=0))
            yield stack(taken)

    def generate(self, key: str, scenes: Tensor) -> Tensor:
        """Return the maps of a batch in native values, float32, on the CPU."""
        with torch.no_grad():
            drawn = self.networks[key](to_unit(scenes, self.card.scene, device=self.device))
        return from_unit(drawn, self.card.map).cpu()

    def _check(self, pair: tuple[Any, Any], where: Pair) -> None:
        card = self.card
        wanted = (
            ("scene", pair[0], card.generator.in_bands, card.scene.dtype),
            ("map", pair[1], card.generator.out_bands, card.map.dtype),
        )
        for what, found, bands, dtype in wanted:
            if (len(found), str(found.dtype)) != (bands, dtype):
                raise PairsError(
                    f"{where.name}: its {what} has {len(found)} bands of {found.dtype}, the model "
                    f"{card.name} {bands} of {dtype} (give pairs like those that it learnt from)"
                )
        side = min(pair[0].shape[1:])
        if side < card.tile:
            raise PairsError(
                f"{where.name}: {side} pixels, the model's tile has {card.tile} "
                f"(give --load-size {card.tile})"
            )


def measure_pairs(asked: Evaluation, contenders: list[Contender]) -> Measured:
    """Draw the map of each pair by each contender, and compare with the true one.

    Raises
    ------
    PairsError
        When pairs cannot be read, or do not fit the model.
    OptionError
        When two models' tiles or values differ.
    """
    sampled = _sample(asked, contenders)
    network = None
    if asked.inception is not None:
        network = _inception(sampled)
    rows: dict[str, list[Any]] = {key: [] for key in (*sampled.networks, BASELINE)}
    judged = {entry.key for entry in contenders} if network is not None else set()
    judges = {key: InceptionScores(network, seed=asked.seed) for key in sorted(judged)}  # type: ignore[arg-type]
    baseline = _mean_truth(sampled)
    counter = _counter(sampled)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)  # only mode training draws from it
        for scenes, truth in sampled.batches(range(len(sampled.pairs))):
            flat = baseline.expand(len(truth), -1, truth.shape[2], truth.shape[3])
            drawn = {key: sampled.generate(key, scenes) for key in sampled.networks}
            for key, maps in (drawn | {BASELINE: flat}).items():
                rows[key] += [_row(counter, *pair) for pair in zip(maps, truth, strict=True)]
            for key, judge in judges.items():
                judge.add(drawn[key].byte(), truth.byte())
            done = len(rows[BASELINE])
            asked.on_progress(
                Progress(stage="compare", done=done, total=len(sampled.pairs), unit="pairs")
            )
    return Measured(
        names=tuple(pair.name for pair in sampled.pairs),
        tables={key: np.stack(table) for key, table in rows.items()},
        scaling=sampled.card.map,
        palette=sampled.palette,
        show=lambda item: _show(sampled, item),
        drawn=drawn_one_by_one(contenders, device=str(sampled.device)),
        modes_precision="fp32" if len(sampled.networks) > len(contenders) else None,
        inception={key: judge.scores() for key, judge in judges.items()},
    )


def choose_pairs(asked: Evaluation) -> tuple[tuple[Pair, ...], str]:
    """Return the pairs of the split, and what is to be said of it.

    Raises
    ------
    PairsError
        When there are none.
    """
    found = find_pairs(os.fspath(asked.pairs or ""))
    chosen = {"val": found.val, "train": found.train, "all": (*found.train, *found.val)}
    pairs = chosen[asked.split]
    if not pairs:
        raise PairsError(f"{asked.pairs}: no pair validates: {found.note} (give --split all)")
    return pairs, found.note if asked.split != "all" else ""


def _sample(asked: Evaluation, contenders: list[Contender]) -> Sampled:
    _check_alike(contenders)
    pairs, _note = choose_pairs(asked)
    palette = choose_palette(asked, contenders[0].card)
    if palette is not None and asked.palette is None:
        _tell_of_other_classes(Path(asked.pairs or ""), card=contenders[0].card, palette=palette)
    device = torch.device(choose_device(asked.device))
    modes = {entry.key: entry.statistics for entry in contenders}
    if asked.modes:
        modes |= {mode: mode for mode in contenders[0].other_statistics(MODES)}
    by_key = {entry.key: entry for entry in contenders}
    networks = {}
    for key, mode in modes.items():
        entry = by_key.get(key, contenders[0])
        copied = copy.deepcopy(entry.model.generator)
        networks[key] = MODES[mode](copied).to(device)
    return Sampled(
        asked=asked,
        contenders=tuple(contenders),
        pairs=pairs,
        networks=networks,
        modes=modes,
        palette=palette,
        device=device,
    )


def _tell_of_other_classes(folder: Path, *, card: ModelCard, palette: Palette) -> None:
    """Warn of pairs that were drawn with other classes than the card's, which scores go by."""
    try:
        drawn_with = read_pairs_palette(folder)
    except PairsError as exc:
        logger.warning("%s", exc)
        return
    if drawn_with is None or _class_names(drawn_with) == _class_names(palette):
        return
    logger.warning(
        "%s: the pairs' classes are %s, scored are those of the card of %s: %s (to score the "
        "pairs' own, give --palette %s)",
        folder / PALETTE,
        _class_names(drawn_with),
        card.name,
        _class_names(palette),
        folder / PALETTE,
    )


def _class_names(palette: Palette) -> str:
    return ", ".join(f"{entry.index} {entry.name}" for entry in palette.classes)


def _check_alike(contenders: Sequence[Contender]) -> None:
    first, last = contenders[0].card, contenders[-1].card
    for what in ("tile", "scene"):
        one, other = getattr(first, what), getattr(last, what)
        if one != other:
            raise OptionError(
                f"{last.name} has {what} {other}, {first.name} {one} (compare them on a scene)"
            )


def _counter(sampled: Sampled) -> Counter:
    scales = scale_count(sampled.card.tile, sampled.card.tile)
    return Counter(sampled.card.map, palette=sampled.palette, scales=scales)


def _row(counter: Counter, made: Tensor, real: Tensor) -> Any:  # noqa: ANN401
    """Return the sums of one pair: a picture of its own."""
    height, width = made.shape[1:]
    patch = Patch(
        made=made.numpy(),
        real=real.numpy(),
        valid=np.ones((height, width), bool),
        rows=(0, height),
        cols=(0, width),
    )
    return picture_row(counter.count(patch))


def _mean_truth(sampled: Sampled) -> Tensor:
    """Return the mean colour of all true maps, rounded, (K, 1, 1) float32."""
    means = [
        truth.double().mean(dim=(0, 2, 3)) * len(truth)
        for _scenes, truth in sampled.batches(range(len(sampled.pairs)))
    ]
    mean = torch.stack(means).sum(dim=0) / len(sampled.pairs)
    return torch.round(mean).float()[:, None, None]


def _inception(sampled: Sampled) -> Inception:
    if sampled.card.generator.out_bands != 3 or sampled.card.map.dtype != "uint8":
        raise OptionError("Inception looks at maps of three bands of uint8 (leave --inception out)")
    return Inception(sampled.asked.inception or "", device=str(sampled.device))


def _show(sampled: Sampled, item: int) -> Shown:
    """Return scene, truth and the contenders' maps of a pair."""
    scenes, truth = next(sampled.batches([item]))
    shown = [
        ("scene", as_rgb(scenes[0].float(), sampled.card.scene)),
        ("truth", as_rgb(truth[0].float(), sampled.card.map)),
    ]
    for entry in sampled.contenders:
        drawn = sampled.generate(entry.key, scenes)[0]
        shown.append((entry.card.name, as_rgb(drawn, sampled.card.map)))
    return shown
