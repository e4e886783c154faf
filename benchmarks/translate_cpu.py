"""Whole translations on a CPU: geop2p beside what one would otherwise use, in alternating rounds.

    python benchmarks/translate_cpu.py [SCENE] [--size 4096] [--models unet_256 streets]
        [--rounds 2 3] [--only plain packed ...] [--name NAME]

Peers (`benchmarks/peers/`) and geop2p get the same scene, weights and overlap, each in a process of
its own, one after the other; every second round in the opposite order. ``seconds`` are measured
inside the process: the peers' from where libraries are loaded and the model is open, geop2p's from
the call on, so that opening the model and preparing an engine count against it. ``wall_seconds``
are measured outside, start-up included. Peers write a tiled GeoTIFF; geop2p, as its users get it, a
Cloud-Optimised GeoTIFF with overviews, which it reads back and compares.

Without a scene it is the bundled sample, mirrored. Smoke test: ``--size 1024 --rounds 1``.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import differences
from measuring import CommandFailed, geop2p_command, measured
from record import record
from scenes import Pixels, make_scene, read_picture
from weights import CONFIGS, flop_of, model_file

from geop2p.model import find_model
from geop2p.networks import build_generator

PEERS = {"plain": "plain.py", "monai": "monai_windows.py", "dask": "dask_overlap.py"}
OURS = {
    "torch": ("--engine", "torch", "--precision", "fp32"),
    "packed": ("--engine", "packed", "--precision", "fp32"),
    "int8": ("--precision", "int8"),
}
"""Name of a variant of geop2p to its options."""
OPENING = """
import json, os, sys, time
from geop2p.engines.choice import Engine
from geop2p.pipelines.lanes import LaneSpec
model, name, precision = sys.argv[1:]
engine = Engine(name=name, precision=precision, threads=os.cpu_count() or 1)
start = time.perf_counter()
LaneSpec(engine=engine, model_path=model).load()
print(json.dumps({"seconds": time.perf_counter() - start}))
"""
"""Opens a model and makes its engine; a packed engine is made later, at its first group."""
BORDER = 128
"""Pixels at the scene's edge that maps are not compared in: peers end their lattice otherwise."""


def main() -> int:
    """Measure every model, print the ratios, record; 1 when a variant failed."""
    options = _options()
    names = [name for name in (*PEERS, *OURS) if not options.only or name in options.only]
    figures: dict[str, Any] = {"size": options.size, "overlap": 64, "models": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = folder / "scene.tif"
        figures["scene"] = make_scene(
            scene, height=options.size, width=options.size, source=options.scene
        )
        for position, model in enumerate(options.models):
            rounds = options.rounds[min(position, len(options.rounds) - 1)]
            run = Comparison(scene, model, folder)
            figures["models"][model] = run.figures(names, rounds=rounds)
    record(options.name, figures, is_shown=False)
    print_table(figures)
    found = figures["models"].values()
    return int(any(model["failed"] for model in found))


class Comparison:
    """All variants on one scene with one model."""

    def __init__(self, scene: Path, model: str, folder: Path) -> None:
        self._scene, self._name, self._folder = scene, model, folder
        self._model = model_file(model, folder)
        self._quantised = self._model
        self._maps: dict[str, Pixels] = {}

    def figures(self, names: list[str], *, rounds: int) -> dict[str, Any]:
        """Measure the variants round by round; one that fails is named and left out."""
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        failed: dict[str, str] = {}
        for number in range(rounds):
            for name in names if number % 2 == 0 else reversed(names):
                if name in failed:
                    continue
                try:
                    runs[name].append(self._run(name))
                except CommandFailed as exc:
                    failed[name] = str(exc)
                    print(f"{self._name} {name} failed: {exc}", file=sys.stderr)
        variants = {
            name: _summary(found, opening=self._opening_seconds(name))
            for name, found in runs.items()
            if found
        }
        _add_ratios(variants)
        for name, difference in self._differences().items():
            variants[name]["difference"] = difference
        flop = flop_of(build_generator(CONFIGS[self._name]))
        facts = {"gflop_a_tile": flop / 1e9, "rounds": rounds}
        return facts | {"variants": variants, "failed": failed}

    def _run(self, name: str) -> dict[str, Any]:
        out = self._folder / f"{name}.tif"
        out.unlink(missing_ok=True)
        result = measured(self._command(name, out))
        self._maps[name] = read_picture(out)
        run = _run_figures(result.report)
        run |= {
            "wall_seconds": result.wall_seconds,
            "cpu_seconds": result.cpu_seconds,
            "peak_mib": result.peak_mib,
        }
        print(f"{self._name} {name}: {run['seconds']:.1f} s, {run['peak_mib']:.0f} MiB", flush=True)
        return run

    def _command(self, name: str, out: Path) -> list[str]:
        if name in PEERS:
            script = Path(__file__).parent / "peers" / PEERS[name]
            return [sys.executable, str(script), str(self._scene), self._model, str(out)]
        model = self._int8_model() if name == "int8" else self._model
        return geop2p_command(
            *("translate", self._scene, "--out", out, "--model", model, "--overlap", "64"),
            *("--device", "cpu", *OURS[name]),
        )

    def _int8_model(self) -> str:
        """Return a model with what int8 needs; the bundled one has it."""
        if self._quantised == self._model and self._model != self._name:
            self._quantised = str(self._folder / f"{self._name}_int8.safetensors")
            words = ("quantize", self._model, "--calibrate", self._scene, "--out", self._quantised)
            measured(geop2p_command(*words))
        return self._quantised

    def _opening_seconds(self, name: str) -> float:
        """Return how long opening takes: geop2p's seconds hold that, peers' do not."""
        if name in PEERS:
            return 0.0
        model = find_model(self._int8_model() if name == "int8" else self._model)
        engine = ("packed", "int8") if name == "int8" else (name, "fp32")
        result = measured([sys.executable, "-c", OPENING, model, *engine])
        seconds: float = result.report["seconds"]
        return seconds

    def _differences(self) -> dict[str, dict[str, float]]:
        """Return how far each map is from geop2p's reference engine, edges left out."""
        reference = next((name for name in OURS if name in self._maps), None)
        if reference is None:
            return {}
        expected = _inside(self._maps[reference])
        return {
            name: differences.of_maps(_inside(pixels), expected)
            for name, pixels in self._maps.items()
            if name != reference
        }


def print_table(figures: dict[str, Any]) -> None:
    """Print one line a model and variant, with its ratios to the plain script."""
    print(f"\n{figures['scene']}, overlap {figures['overlap']}")
    heads = ("model", "variant", "seconds", "x plain", "median", "with start", "CPU s", "MiB")
    print("{:<10} {:<9} {:>8} {:>8} {:>8} {:>11} {:>7} {:>6}  not generator".format(*heads))
    for model, found in figures["models"].items():
        for name, variant in found["variants"].items():
            ratio, median = variant.get("times_plain", 0), variant.get("times_plain_median", 0)
            share = variant.get("share_not_generator")
            print(
                f"{model:<10} {name:<9} {variant['seconds']:>8.1f} {ratio:>8.2f} {median:>8.2f} "
                f"{variant['wall_seconds']:>11.1f} {variant['cpu_seconds']:>7.1f} "
                f"{variant['peak_mib']:>6.0f}  {'' if share is None else f'{share:.1%}'}"
            )


def _run_figures(report: dict[str, Any]) -> dict[str, Any]:
    stages = {stage: value for stage, value in report["seconds"].items() if stage != "total"}
    facts = ("tiles", "threads", "engine", "precision")
    kept = {key: report[key] for key in facts if key in report}
    return kept | {"seconds": report["seconds"]["total"], "stages": stages}


def _summary(runs: list[dict[str, Any]], *, opening: float) -> dict[str, Any]:
    """Return the quickest run's figures, and medians and the largest memory of all.

    ``opening``, seconds, is start-up, and not counted among what is not the generator's.
    """
    best = min(runs, key=lambda run: run["seconds"])
    seconds = [run["seconds"] for run in runs]
    summary = best | {
        "seconds_median": statistics.median(seconds),
        "seconds_of_rounds": seconds,
        "wall_seconds": min(run["wall_seconds"] for run in runs),
        "peak_mib": max(run["peak_mib"] for run in runs),
    }
    if "threads" not in best:  # one thread at a time draws, so its seconds are wall time
        generate = best["stages"]["generate"]
        summary["opening_seconds"] = opening
        summary["share_not_generator"] = max(0, 1 - generate / (best["seconds"] - opening))
        summary["share_not_generator_with_opening"] = 1 - generate / best["seconds"]
    return summary


def _add_ratios(variants: dict[str, dict[str, Any]]) -> None:
    plain = variants.get("plain")
    if plain is None:
        return
    for variant in variants.values():
        variant["times_plain"] = plain["seconds"] / variant["seconds"]
        variant["times_plain_median"] = plain["seconds_median"] / variant["seconds_median"]
        variant["times_plain_with_start"] = plain["wall_seconds"] / variant["wall_seconds"]
        variant["memory_of_plain"] = variant["peak_mib"] / plain["peak_mib"]


def _inside(pixels: Pixels) -> Pixels:
    return pixels[:, BORDER:-BORDER, BORDER:-BORDER]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", type=Path, nargs="?")
    parser.add_argument("--size", type=int, default=4096, help="pixels, side of the scene")
    parser.add_argument("--models", nargs="+", default=["unet_256", "streets"], choices=CONFIGS)
    parser.add_argument("--rounds", nargs="+", type=int, default=[2, 3], help="one a model")
    parser.add_argument("--only", nargs="+", choices=(*PEERS, *OURS), help="variants; all")
    parser.add_argument("--name", default="translate_cpu", help="of the file in results/")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
