"""Engines beside each other and beside what the processor can do: GFLOP/s of the generator alone.

    python benchmarks/engines.py [--models unet_256 streets] [--rounds 5]

All engines draw the same real tiles in one process, in alternating rounds. The limits are measured
in the same rounds: a large product of float32 matrices, and one of 8-bit integers where torch has
it. Pictures are compared with those of the reference engine: share of grey levels that differ, the
largest difference, PSNR.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded

import differences
import torch
from measuring import geop2p_command, measured
from record import record
from scenes import make_scene
from weights import BUNDLED, CONFIGS, flop_of, model_file, sample_tiles

from geop2p.engines.choice import Engine
from geop2p.generator import ReadyGenerator
from geop2p.networks import build_generator
from geop2p.pipelines.lanes import LaneSpec

ENGINES = {
    "torch": ("torch", "fp32"),
    "packed": ("packed", "fp32"),
    "int8": ("packed", "int8"),
}
"""What figures call an engine, to its name and precision."""
TILES = 12
MATRIX = 2048
Figures = dict[str, Any]


def main() -> None:
    """Measure the models and record."""
    options = _options()
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    figures: Figures = {"threads": threads, "torch": torch.__version__, "models": {}}
    with tempfile.TemporaryDirectory() as name:
        for model in options.models:
            figures["models"][model] = measure(model, Path(name), rounds=options.rounds)
    record("engines", figures, is_shown=False)
    print_table(figures)


def measure(model: str, folder: Path, *, rounds: int) -> Figures:
    """Return the time and pictures of every engine that can be made, and the limits."""
    tiles = sample_tiles(TILES)
    ready, failed = _engines(model, folder)
    runs: dict[str, Callable[[], object]] = {
        name: partial(generator, tiles) for name, generator in ready.items()
    }
    seconds = _alternating(runs | _products(), rounds=rounds)
    flop = flop_of(build_generator(CONFIGS[model]))
    peaks = {
        name: 2 * MATRIX**3 / min(seconds[name]) / 1e9 for name in seconds.keys() - ready.keys()
    }
    expected = ready["torch"](tiles)
    engines = {}
    for name, generator in ready.items():
        rate = flop * TILES / min(seconds[name]) / 1e9
        engines[name] = {
            "ms_a_tile": 1000 * min(seconds[name]) / TILES,
            "ms_a_tile_median": 1000 * statistics.median(seconds[name]) / TILES,
            "gflop_s": rate,
            "share_of_sgemm": rate / peaks["sgemm"],
            "times_torch": min(seconds["torch"]) / min(seconds[name]),
            "difference": differences.of_units(generator(tiles), expected),
        }
    found = {"gflop_a_tile": flop / 1e9, "peaks_gflop_s": peaks, "engines": engines}
    return found | {"failed": failed}


def print_table(figures: Figures) -> None:
    """Print one line a model and engine."""
    print(f"\n{'model':<10} {'engine':<9} ms a tile  x torch  GFLOP/s  of sgemm  largest  differ")
    for model, found in figures["models"].items():
        for name, engine in found["engines"].items():
            apart = engine["difference"]
            print(
                f"{model:<10} {name:<9} {engine['ms_a_tile']:>9.1f} {engine['times_torch']:>8.2f} "
                f"{engine['gflop_s']:>8.0f} {engine['share_of_sgemm']:>9.0%} "
                f"{apart['largest_grey_levels']:>8} {apart['share_of_values']:>7.2%}"
            )
        for name, why in found["failed"].items():
            print(f"{model:<10} {name:<9} {why.strip().splitlines()[-1][:80]}")


def _engines(model: str, folder: Path) -> tuple[dict[str, ReadyGenerator], dict[str, str]]:
    """Return the engines that can be made here, and why the others cannot."""
    path = model_file(model, folder)
    ready, failed = {}, {}
    for label, (name, precision) in ENGINES.items():
        engine = Engine(name=name, precision=precision, threads=torch.get_num_threads())
        with _told() as messages:
            try:
                used = _quantised(path, folder) if precision == "int8" else path
                generator = LaneSpec(engine=engine, model_path=used).load()
                generator(sample_tiles(4))
            except Exception as exc:  # noqa: BLE001  whatever it is, the others are measured
                messages.append(f"{type(exc).__name__}: {exc}")
        if messages:  # it failed, or fell back to the reference and said so
            failed[label] = messages[0]
        else:
            ready[label] = generator
    return ready, failed


@contextmanager
def _told() -> Iterator[list[str]]:
    """Collect the warnings that geop2p logs."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda entry: messages.append(entry.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("geop2p")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def _quantised(path: str, folder: Path) -> str:
    """Return a model with what int8 needs; the bundled one has it."""
    if path == BUNDLED:
        return path
    scene, out = folder / "calibration.tif", folder / f"int8_{Path(path).name}"
    make_scene(scene, height=1024, width=1024)
    measured(geop2p_command("quantize", path, "--calibrate", scene, "--out", out))
    return str(out)


def _products() -> dict[str, Callable[[], object]]:
    """Return the products of large matrices that set the limits: float32, and uint8 x int8."""
    random = torch.Generator().manual_seed(0)
    one, other = (torch.randn(MATRIX, MATRIX, generator=random) for _ in range(2))
    products: dict[str, Callable[[], object]] = {"sgemm": partial(torch.matmul, one, other)}
    if "onednn" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "onednn"
        scales, zeros = torch.full((MATRIX,), 0.03), torch.zeros(MATRIX, dtype=torch.long)
        weight = torch.quantize_per_channel(other, scales, zeros, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(weight, None)
        left = torch.quantize_per_tensor(one, 0.03, 128, torch.quint8)
        products["int8_product"] = partial(torch.ops.quantized.linear, left, packed, 1.0, 128)
    return products


def _alternating(
    runs: Mapping[str, Callable[[], object]], *, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each run in each round; a first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["unet_256", BUNDLED], choices=CONFIGS)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
