"""Quantize: a model file gets what its generator needs to run in 8-bit integers.

tiles of scenes -> ranges -> losses on whole scenes -> the same weights with a longer card
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TypedDict, Unpack

from torch import Tensor

from geop2p.calibration import Calibrated
from geop2p.calibration import calibrate as find_ranges
from geop2p.card import ModelCard
from geop2p.engines.int8 import fault_of_int8
from geop2p.errors import ModelError, OptionError, OutputError, SceneError
from geop2p.locking import held
from geop2p.model import Model, find_model, load_model, write_card
from geop2p.pipelines.calibration_tiles import calibration_tiles
from geop2p.pipelines.int8_losses import MeasuredScene, check_truths, measure_losses
from geop2p.pipelines.request import Request
from geop2p.progress import OnProgress, Progress, ignore_progress
from geop2p.quantisation import Int8Entry, Int8Losses, SourceScene
from geop2p.raster.identity import identity_of
from geop2p.writing import check_folder, file_sha256, temporary_folder

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


class QuantizeOptions(TypedDict, total=False):
    """What `quantize` can be told; see `QuantizeSettings` for meanings and defaults."""

    scene: Sequence[PathLike]
    truth: Sequence[PathLike]
    tiles: int
    bidx: Sequence[int] | None
    stretch: str | Sequence[str] | None
    threads: int | None
    overwrite: bool
    on_progress: OnProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeSettings:
    """How a model is quantised.

    Parameters
    ----------
    scene : sequence of paths
        Scenes that losses are measured on, whole; none: they are not measured. On one that is
        calibrated with they are, but then ``--precision auto`` does not take int8.
    truth : sequence of paths
        Their true maps, pictures or class indexes, in their order; none: only maps are compared.
    tiles : int
        How many tiles of each calibration scene the generator is shown at most.
    bidx : sequence of int or None
        Bands of all scenes, from 1, as for `translate`.
    stretch : str, sequence of str or None
        Of all scenes, as for `translate`.
    threads : int or None
        torch's threads while losses are measured.
    overwrite : bool
        Replace an existing output.
    on_progress : callable
        Told after each calibration scene, and of the maps.
    """

    scene: Sequence[PathLike] = ()
    truth: Sequence[PathLike] = ()
    tiles: int = 16
    bidx: Sequence[int] | None = None
    stretch: str | Sequence[str] | None = None
    threads: int | None = None
    overwrite: bool = False
    on_progress: OnProgress = field(default=ignore_progress, repr=False)

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises
        ------
        OptionError
            Naming the first such value.
        """
        if self.tiles < 1:
            raise OptionError(f"tiles {self.tiles} (expected at least 1 a scene)")
        if self.truth and len(self.truth) != len(self.scene):
            raise OptionError(
                f"{len(self.truth)} --truth for {len(self.scene)} --scene "
                "(give one for each, in the same order)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeReport:
    """What `quantize` made.

    Parameters
    ----------
    path : str
        The model file.
    sha256 : str
        Of its bytes.
    method : str
        How ranges were chosen: the one of those tried whose pictures were nearest to float32.
    tiles : int
        Tiles that the generator was shown.
    psnr_by_method_db : dict
        PSNR of int8 against float32 on those tiles, in dB, by method.
    psnr_db : float or None
        Of the int8 maps of the scenes against the float32 ones, in dB.
    psnr_loss_db : float or None
        PSNR against the truth that int8 loses, in dB.
    accuracy_loss : float or None
        Accuracy against the truth that int8 loses, in percentage points.
    not_held_back : tuple of str
        Names of scenes that were calibrated with and measured on; such figures do not count.
    is_within_limits : bool
        Whether ``--precision auto`` takes int8 on a CPU.
    seconds : float
        Wall time.
    """

    path: str
    sha256: str
    method: str
    tiles: int
    psnr_by_method_db: Mapping[str, float]
    psnr_db: float | None
    psnr_loss_db: float | None
    accuracy_loss: float | None
    not_held_back: tuple[str, ...]
    is_within_limits: bool
    seconds: float


def quantize(
    model: PathLike,
    out: PathLike,
    *,
    calibrate: Sequence[PathLike],
    **options: Unpack[QuantizeOptions],
) -> QuantizeReport:
    """Write a model file with the same weights, whose card tells how to run it in 8 bits.

    Parameters
    ----------
    model : str or path
        A bundled model's name, or a model file.
    out : path
        The new model file.
    calibrate : sequence of paths
        Scenes like those that will be translated.
    **options
        See `QuantizeSettings`.

    Raises
    ------
    OptionError
        When options contradict each other or the data.
    SceneError
        When a scene or truth cannot be used.
    ModelError
        When the model cannot be read, or its generator cannot run in 8 bits on this machine.
    OutputError
        When ``out`` exists, is locked, or cannot be written.
    """
    started = time.perf_counter()
    settings = QuantizeSettings(**options)
    if not calibrate:
        raise OptionError("no scene to calibrate with (give --calibrate SCENE...)")
    target, source = Path(out), find_model(model)
    _check_output(target, source=source, overwrite=settings.overwrite)
    loaded = load_model(source)
    fault = fault_of_int8(loaded.generator)
    if fault is not None:
        raise ModelError(f"{source}: {fault} (it stays a model for float32)")
    check_truths(settings.scene, settings.truth, card=loaded.card)
    with held(target):
        entry, found = _calibrated(loaded, target=target, scenes=calibrate, settings=settings)
        _check_readable(entry, source=source)
        entry = replace(
            entry, losses=_measured(loaded.card, entry, source=source, settings=settings)
        )
        sha256 = write_card(target, source, replace(loaded.card, int8=entry))
    return _report(target, entry, found, sha256=sha256, seconds=time.perf_counter() - started)


def _report(
    target: Path, entry: Int8Entry, found: Calibrated, *, sha256: str, seconds: float
) -> QuantizeReport:
    losses = entry.losses
    return QuantizeReport(
        path=str(target),
        sha256=sha256,
        method=entry.method,
        tiles=entry.tiles,
        psnr_by_method_db={name: round(value, 2) for name, value in found.psnr_db.items()},
        psnr_db=None if losses is None else losses.psnr_db,
        psnr_loss_db=None if losses is None else losses.psnr_loss_db,
        accuracy_loss=None if losses is None else losses.accuracy_loss,
        not_held_back=entry.not_held_back,
        is_within_limits=entry.is_within_limits,
        seconds=round(seconds, 3),
    )


def _check_output(target: Path, *, source: Path, overwrite: bool) -> None:
    if target.suffix != ".safetensors":
        raise OptionError(f"{target}: a model is a .safetensors file (name it so)")
    if target.is_dir():
        raise OutputError(f"{target}: is a folder (give a file)")
    check_folder(target)
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the model itself (choose another name)")
    if target.exists() and not overwrite:
        raise OutputError(f"{target}: exists (choose another name, or --overwrite)")


def _calibrated(
    model: Model, *, target: Path, scenes: Sequence[PathLike], settings: QuantizeSettings
) -> tuple[Int8Entry, Calibrated]:
    """Return the card's entry without losses, and what was tried."""
    tiles: list[Tensor] = []
    sources, lacking = [], []
    for done, scene in enumerate(scenes, start=1):
        request = _request(scene, target, settings)
        found_here = calibration_tiles(request, model.card, most=settings.tiles)
        if found_here:
            tiles += found_here
            sources.append(_identified(request))
        else:
            lacking.append(request.scene)
        settings.on_progress(
            Progress(stage="calibrate", done=done, total=len(scenes), unit="scenes")
        )
    if lacking:
        told = (
            f"{', '.join(lacking)}: none of its tiles of {model.card.tile} pixels that were looked "
            "at is valid all over"
        )
        if not tiles:
            raise SceneError(f"{told} (calibrate with another scene)")
        logger.warning("%s; calibrated without", told)
    span = model.card.map.high - model.card.map.low
    found = find_ranges(model.generator, tiles, span=span)
    entry = Int8Entry(
        ranges=found.ranges, method=found.method, scenes=tuple(sources), tiles=len(tiles)
    )
    return entry, found


def _check_readable(entry: Int8Entry, *, source: Path) -> None:
    try:
        entry.check_readable()
    except ModelError as exc:
        raise ModelError(f"{source}: {exc}: it stays a model for float32") from exc


def _measured(
    card: ModelCard, entry: Int8Entry, *, source: Path, settings: QuantizeSettings
) -> Int8Losses | None:
    if not settings.scene:
        return None
    requests = [_request(scene, source, settings) for scene in settings.scene]
    scenes = [
        MeasuredScene(scene=request.scene, identity=_identified(request), truth=truth)
        for request, truth in zip_longest(requests, settings.truth)
    ]
    options = {
        "bidx": settings.bidx,
        "stretch": settings.stretch,
        "threads": settings.threads,
        "on_progress": settings.on_progress,
    }
    with temporary_folder() as folder:
        model = folder / "int8.safetensors"
        write_card(model, source, replace(card, int8=entry))
        return measure_losses(scenes, model=model, card=card, folder=folder, options=options)


def _request(scene: PathLike, out: Path, settings: QuantizeSettings) -> Request:
    return Request(scene=os.fspath(scene), out=out, bidx=settings.bidx, stretch=settings.stretch)


def _identified(request: Request) -> SourceScene:
    """Return name and SHA-256 of the scene's own file."""
    path = identity_of(request.source(None)).paths[0]
    return SourceScene(name=Path(path).name, sha256=file_sha256(Path(path)))
