"""The sections of `benchmarks/gpu.py`, one a process: figures go to the file ``--answer`` names.

Figures are written as they come, so that a section that is stopped leaves those it has.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import differences
import torch
from measuring import CommandFailed, geop2p_command, measured
from scenes import make_scene
from torch import Tensor, nn
from weights import CONFIGS, flop_of, model_file, random_network, sample_tiles

from geop2p.engines.choice import Engine
from geop2p.engines.cuda import HalfRunner
from geop2p.engines.reference import TorchRunner
from geop2p.generator import use_exact_kernels

Figures = dict[str, Any]
MAKERS: dict[str, Callable[[nn.Module, Engine], Callable[[Tensor], Tensor]]] = {
    "fp32": TorchRunner,
    "fp32 channels first": lambda network, engine: (
        copy.deepcopy(network).eval().to(engine.device, memory_format=torch.contiguous_format)
    ),
    "bf16 by autocast": TorchRunner,
    "bf16 without graphs": lambda network, engine: HalfRunner(
        network, engine, record=lambda draw, _: draw
    ),
    "bf16": HalfRunner,
}
"""What figures call a way to run the generator, to what makes it. ``fp32`` and ``bf16`` are what
``--precision`` takes."""
BATCHES = (32, 64, 128, 256)
RUNS = (
    ("unet_256", "bf16", "COG"),
    ("unet_256", "bf16", "GTiff"),
    ("streets", "bf16", "COG"),
    ("unet_256", "fp32", "COG"),
)
"""Model, precision and format of the whole commands, the most important first."""

TRAININGS = (
    ("eager", "batch_16"),
    ("eager", "batch_1"),
    ("eager", "batch_16_amp"),
    ("eager", "batch_1_amp"),
    ("compiled", "batch_16_amp"),
    ("compiled", "batch_1_amp"),
    ("compiled", "batch_16"),
    ("compiled", "batch_1"),
)
"""Eager or compiled, and a case of `benchmarks/train.py`, the most important first."""


class Section:
    """A device, a size, and a file that figures go to."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device, self.size = torch.device(options.device), options.size
        self.is_small = self.device.type == "cpu"
        self._answer = options.answer
        self.figures: Figures = {}

    def precision(self, wanted: str) -> str:
        """Return the precision to use: a CPU without bf16 is ten times slower in it."""
        return "fp32" if self.is_small else wanted

    def chosen(self, makers: Iterable[str]) -> list[str]:
        """Return the ways to run the generator that are tried: on a CPU, those in fp32."""
        return [name for name in makers if not self.is_small or name == "fp32"]

    def keep(self) -> None:
        """Write the figures so far."""
        self._answer.write_text(json.dumps(self.figures), encoding="utf-8")

    def seconds(self, run: Callable[[], object], *, repeats: int = 10) -> float:
        """Return the median time of one run, the device waited for."""
        repeats = 2 if self.is_small else repeats
        for _ in range(1 if self.is_small else 3):
            run()
        times = []
        for _ in range(repeats):
            self._wait()
            start = time.perf_counter()
            run()
            self._wait()
            times.append(time.perf_counter() - start)
        return median(times)

    def matrix_rate(self, dtype: torch.dtype) -> float:
        """Return the FLOP/s of a large matrix product of random values."""
        side = 512 if self.is_small else 8192
        one, other = (torch.randn(side, side, device=self.device).to(dtype) for _ in range(2))
        return 2 * side**3 / self.seconds(lambda: one @ other)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def machine(section: Section) -> None:
    """Name the card and measure its limits: matrix rates, memory, the bus."""
    figures = section.figures
    figures |= {"torch": torch.__version__, "python": sys.version.split()[0]}
    if section.device.type == "cuda":
        properties = torch.cuda.get_device_properties(section.device)
        figures |= {"card": properties.name, "memory_gib": properties.total_memory / 2**30}
        figures |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        figures[f"{name}_tflop_s"] = section.matrix_rate(dtype) / 1e12
        section.keep()
    count = (1 << 24) if section.is_small else (1 << 31)
    block = torch.randint(0, 255, (count,), dtype=torch.uint8, device=section.device)
    target = torch.empty_like(block)
    figures["copy_gb_s"] = 2 * count / section.seconds(lambda: target.copy_(block)) / 1e9
    host = torch.empty(count // 8, dtype=torch.uint8, pin_memory=section.device.type == "cuda")
    part = block[: count // 8]
    figures["to_device_gb_s"] = len(part) / section.seconds(lambda: part.copy_(host)) / 1e9
    figures["from_device_gb_s"] = len(part) / section.seconds(lambda: host.copy_(part)) / 1e9


def generator(section: Section) -> None:
    """Measure tiles/s and the share of the matrix rate, by width, way to run it and batch."""
    use_exact_kernels()
    peak = section.matrix_rate(torch.bfloat16)
    section.figures["bf16_tflop_s"] = peak / 1e12
    tiles = sample_tiles(4 if section.is_small else max(BATCHES))
    tiles = tiles.to(section.device, memory_format=torch.channels_last)  # as a strip's are
    for width, model in ((64, "unet_256"), (32, "unet_256_ngf32")):
        network = random_network(CONFIGS[model])
        flop = flop_of(network)
        found = section.figures[f"ngf_{width}"] = {"gflop_a_tile": flop / 1e9}
        expected = None
        for name in section.chosen(MAKERS):
            found[name], picture = _best_batch(section, network, name=name, tiles=tiles)
            if picture is None:
                continue
            expected = picture if expected is None else expected
            rate = found[name]["tiles_s"] * flop
            found[name] |= {"tflop_s": rate / 1e12, "share_of_bf16": rate / peak}
            found[name]["difference"] = differences.of_units(picture, expected)
            section.keep()


@torch.inference_mode()
def _best_batch(
    section: Section, network: nn.Module, *, name: str, tiles: Tensor
) -> tuple[Figures, Tensor | None]:
    """Return tiles/s by batch size, the best of them, and the picture of 4 tiles."""
    figures: Figures = {"by_batch": {}}
    picture = None
    precision = section.precision(name[:4])
    for batch in (4,) if section.is_small else BATCHES:
        engine = Engine(device=str(section.device), precision=precision, batch_size=batch)
        try:
            run = partial(MAKERS[name](network, engine), tiles[:batch])
            seconds = section.seconds(run)
            picture = run()[:4]
        except Exception as exc:  # noqa: BLE001  whatever it is, the others are measured
            figures["failed"] = f"batch {batch}: {type(exc).__name__}: {exc}"[:500]
            continue
        figures["by_batch"][str(batch)] = batch / seconds
    if picture is not None:
        best = max(figures["by_batch"], key=figures["by_batch"].get)
        figures |= {"batch": int(best), "tiles_s": figures["by_batch"][best]}
    return figures, picture


def whole(section: Section) -> None:
    """Translate a whole scene by the command, and tell its stages."""
    scene = _scene(section)
    runs = section.figures["runs"] = {}
    for model, wanted, map_format in RUNS:
        precision = section.precision(wanted)
        name = f"{model} {precision} {map_format}"
        if name in runs:
            continue
        out = Path(f"map_{model}.tif")
        command = geop2p_command(
            *("translate", scene, "--out", out, "--overwrite", "--format", map_format),
            *("--model", model_file(model, Path.cwd()), "--device", str(section.device)),
            *("--precision", precision),
        )
        try:
            result = measured(command, timeout=100)
        except CommandFailed as exc:
            print(f"{name}: {exc}")
            section.figures.setdefault("failed_runs", {})[name] = str(exc)[-500:]
            continue
        runs[name] = _told(result.report) | {
            "wall_seconds": result.wall_seconds,
            "cpu_seconds": result.cpu_seconds,
            "peak_mib": result.peak_mib,
        }
        section.keep()


def plain(section: Section) -> None:
    """Translate the same scene by the plain script on the same device."""
    script = Path(__file__).parent / "peers/plain.py"
    model = model_file("unet_256", Path.cwd())
    words = (sys.executable, script, _scene(section), model, "plain.tif", str(section.device))
    result = measured(words)
    section.figures |= _told(result.report) | {
        "wall_seconds": result.wall_seconds,
        "peak_mib": result.peak_mib,
    }


def training(section: Section) -> None:
    """Compare training with the plain loop; on a GPU also with networks that are compiled.

    Each case is a run of its own, the most important first: one that fails, or for which there is
    no time, takes no other with it.
    """
    script = Path(__file__).parent / "train.py"
    words = [sys.executable, script, "--device", str(section.device), "--json"]
    words += ["--rounds", "1"] if section.is_small else []
    for kind, case in (("eager", "batch_1"),) if section.is_small else TRAININGS:
        case_words = [*words, "--only", case, *(["--compile"] if kind == "compiled" else [])]
        name = f"{kind} {case}"
        try:
            report = measured(case_words, timeout=600 if section.is_small else 100).report
        except CommandFailed as exc:
            print(f"{name}: {exc}")
            section.figures.setdefault("failed_runs", {})[name] = str(exc)[-500:]
        else:
            section.figures.setdefault(kind, {}).update(report)
        section.keep()


def _scene(section: Section) -> Path:
    """Return the scene, made by the first section that needs it."""
    path = Path("scene.tif")
    if not path.exists():
        start = time.perf_counter()
        unfinished = Path("unfinished.tif")
        told = make_scene(unfinished, height=section.size, width=section.size)
        unfinished.rename(path)
        print(f"{told}: {time.perf_counter() - start:.1f} s")
    return path


def _told(report: Figures) -> Figures:
    stages = dict(report["seconds"])
    return {"tiles": report["tiles"], "seconds": stages.pop("total"), "stages": stages}


SECTIONS = {run.__name__: run for run in (machine, generator, whole, plain, training)}


def main() -> None:
    """Run one section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=10980)
    parser.add_argument("--answer", type=Path, required=True)
    options = parser.parse_args()
    section = Section(options)
    try:
        SECTIONS[options.section](section)
    finally:
        section.keep()


if __name__ == "__main__":
    main()
