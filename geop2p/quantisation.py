"""The int8 entry of a model card: what a generator needs to run in 8 bits, and what that loses.

The weights of the file stay as they are; the entry has the ranges that the 8-bit numbers span.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geop2p.errors import ModelError
from geop2p.networks import RESNET_BLOCKS, UNET_LEVELS, GeneratorConfig

MOST_RANGE = 1e6
"""Bound of what a range may claim; inputs of convolutions are within some tens."""
MOST_SCENES = 10_000
MOST_PSNR_LOSS_DB = 0.1
MOST_ACCURACY_LOSS = 0.3
"""Percentage points."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceScene:
    """A scene that ranges or losses come from: its file's name and SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Losses:
    """What int8 changes, measured on whole scenes, translated in float32 and in int8.

    Parameters
    ----------
    scenes : tuple of SourceScene
        What was translated.
    psnr_db : float, dB
        Of the int8 maps against the float32 ones.
    truth_psnr_db : (float, float) or None, dB
        Of the float32 and of the int8 maps against the truth; None where there was none.
    accuracy : (float, float) or None
        Share of labelled pixels, 0 to 1, whose nearest class colour is the true one, in float32 and
        in int8; None without classes.
    """

    scenes: tuple[SourceScene, ...]
    psnr_db: float
    truth_psnr_db: tuple[float, float] | None = None
    accuracy: tuple[float, float] | None = None

    @property
    def psnr_loss_db(self) -> float | None:
        """PSNR against the truth that int8 loses, in dB; negative where it gains."""
        return None if self.truth_psnr_db is None else _drop(self.truth_psnr_db)

    @property
    def accuracy_loss(self) -> float | None:
        """Accuracy against the truth that int8 loses, in percentage points."""
        return None if self.accuracy is None else 100 * _drop(self.accuracy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Entry:
    """Ranges of a generator's convolutions, where they come from, and what int8 loses.

    Parameters
    ----------
    ranges : mapping of str to (float, float)
        Lowest and highest value of each convolution's input, by the convolution's name in the
        network. A decoder step of a U-Net has that of its own half; the other half, which skips,
        has that of the encoder step that it also feeds.
    method : str
        How the ranges were chosen: a key of `geop2p.calibration.METHODS`.
    scenes : tuple of SourceScene
        What the generator was shown.
    tiles : int
        How many tiles of them.
    losses : Int8Losses or None
        None: not measured.
    """

    ranges: Mapping[str, Range]
    method: str
    scenes: tuple[SourceScene, ...]
    tiles: int
    losses: Int8Losses | None = None

    @property
    def not_held_back(self) -> tuple[str, ...]:
        """Names of scenes that were measured on and that the ranges come from, by their bytes."""
        shown = {scene.sha256 for scene in self.scenes}
        measured = () if self.losses is None else self.losses.scenes
        return tuple(scene.name for scene in measured if scene.sha256 in shown)

    @property
    def is_within_limits(self) -> bool:
        """Return whether int8 was measured against truth, and loses next to nothing.

        That is at most `MOST_PSNR_LOSS_DB` and, where there are classes, `MOST_ACCURACY_LOSS`, on
        scenes that the ranges do not come from.
        """
        loss = None if self.losses is None else self.losses.psnr_loss_db
        if self.losses is None or loss is None or self.not_held_back:
            return False
        return loss <= MOST_PSNR_LOSS_DB and (self.losses.accuracy_loss or 0) <= MOST_ACCURACY_LOSS

    def check_fits(self, config: GeneratorConfig) -> None:
        """Refuse ranges that are not those of a generator's convolutions.

        Raises
        ------
        ModelError
            When one is missing or left over, or the generator has instance norm.
        """
        different = set(convolution_names(config)) ^ self.ranges.keys()
        if different:
            name = min(different)
            what = "left over" if name in self.ranges else "missing"
            raise ModelError(f"int8: the range of {name[:80]!r} is {what}")
        if config.attention:
            raise ModelError("int8: a generator with self-attention cannot run in 8 bits")
        if config.norm != "batch":
            raise ModelError(f"int8: a generator with {config.norm} norm cannot run in 8 bits")

    def check_readable(self) -> None:
        """Refuse an entry that no card may hold; raises what `entry_from_json_value` raises."""
        entry_from_json_value(self.to_json_value())

    def to_json_value(self) -> dict[str, Any]:
        """Return what `entry_from_json_value` reads."""
        content: dict[str, Any] = {
            "ranges": {name: list(limits) for name, limits in self.ranges.items()},
            "method": self.method,
            "scenes": _scenes_to_list(self.scenes),
            "tiles": self.tiles,
            "losses": None,
        }
        if self.losses is not None:
            pairs = {"truth_psnr_db": self.losses.truth_psnr_db, "accuracy": self.losses.accuracy}
            content["losses"] = {
                "scenes": _scenes_to_list(self.losses.scenes),
                "psnr_db": self.losses.psnr_db,
                **{name: None if pair is None else list(pair) for name, pair in pairs.items()},
            }
        return content


def convolution_names(config: GeneratorConfig) -> list[str]:
    """Return the names of a generator's convolutions, in the order in which they run."""
    levels = UNET_LEVELS.get(config.arch)
    if levels is not None:
        downs = [f"encoder.{i}.{min(i, 1)}" for i in range(levels)]
        return [*downs, *(f"decoder.{i}.1" for i in range(levels - 1)), "head.1"]
    second = 6 if config.dropout else 5
    blocks = [
        f"blocks.{block}.layers.{layer}"
        for block in range(RESNET_BLOCKS[config.arch])
        for layer in (1, second)
    ]
    return ["stem.1", "down.0", "down.3", *blocks, "up.0", "up.3", "head.1"]


def entry_from_json_value(content: object) -> Int8Entry:
    """Return the entry that `Int8Entry.to_json_value` made.

    Raises
    ------
    ModelError
        For anything else: an entry that is missing, unknown, of another type or out of bounds.
    """
    found = _fields(content, "int8", ("ranges", "method", "scenes", "tiles", "losses"))
    ranges = found["ranges"]
    if not isinstance(ranges, dict):
        raise ModelError("int8: ranges is no object")
    if not isinstance(found["method"], str):
        raise ModelError(f"int8: method is {str(found['method'])[:40]!r}")
    tiles = found["tiles"]
    if type(tiles) is not int or tiles < 1:
        raise ModelError(f"int8: tiles is {str(tiles)[:40]!r}")
    losses = found["losses"]
    return Int8Entry(
        ranges={name: _range(name, limits) for name, limits in ranges.items()},
        method=found["method"],
        scenes=_scenes(found["scenes"]),
        tiles=tiles,
        losses=None if losses is None else _losses(losses),
    )


def _losses(content: object) -> Int8Losses:
    names = ("scenes", "psnr_db", "truth_psnr_db", "accuracy")
    found = _fields(content, "int8 losses", names)
    return Int8Losses(
        scenes=_scenes(found["scenes"]),
        psnr_db=_number("psnr_db", found["psnr_db"], most=1000),
        truth_psnr_db=_pair("truth_psnr_db", found["truth_psnr_db"], most=1000),
        accuracy=_pair("accuracy", found["accuracy"], least=0, most=1),
    )


def _fields(content: object, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ModelError(f"{what} is no object")
    different = content.keys() ^ set(names)
    if different:
        raise ModelError(f"{what}: the entry {str(min(different))[:40]!r} is missing or unknown")
    return content


def _range(name: str, limits: object) -> Range:
    found = _pair(f"the range of {name[:80]}", limits, least=-MOST_RANGE, most=MOST_RANGE)
    if found is None or not found[0] < found[1]:
        raise ModelError(f"int8: the range of {name[:80]!r} is empty (expected low < high)")
    return found


def _pair(name: str, values: object, *, least: float | None = None, most: float) -> Range | None:
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != 2:
        raise ModelError(f"int8: {name} is no pair of numbers")
    low, high = (_number(name, value, least=least, most=most) for value in values)
    return low, high


def _number(name: str, value: object, *, least: float | None = None, most: float) -> float:
    lowest = -most if least is None else least
    if type(value) not in (int, float) or not lowest <= value <= most:  # type: ignore[operator]
        raise ModelError(f"int8: {name} is {str(value)[:40]!r} ({lowest:g} to {most:g} expected)")
    return float(value)  # type: ignore[arg-type]


def _scenes(content: object) -> tuple[SourceScene, ...]:
    if not isinstance(content, list) or not 1 <= len(content) <= MOST_SCENES:
        raise ModelError("int8: scenes is no list of scenes")
    found = [_fields(entry, "int8 scene", ("name", "sha256")) for entry in content]
    for entry in found:
        texts = [entry["name"], entry["sha256"]]
        if not all(isinstance(text, str) for text in texts) or not re.fullmatch(
            "[0-9a-f]{64}", entry["sha256"]
        ):
            raise ModelError("int8: a scene is no name with a SHA-256")
    return tuple(SourceScene(**entry) for entry in found)


def _scenes_to_list(scenes: tuple[SourceScene, ...]) -> list[dict[str, str]]:
    return [{"name": scene.name, "sha256": scene.sha256} for scene in scenes]


def _drop(pair: tuple[float, float]) -> float:
    return round(pair[0] - pair[1], 9)
