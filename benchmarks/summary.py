"""One table of what was measured: every ratio in `results/`, beside its target.

python benchmarks/summary.py
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from record import recorded

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure: what it is, its value, what was aimed at, and where it was recorded."""

    what: str
    value: float
    target: str = ""
    is_met: bool | None = None
    kind: str = "x"

    def __str__(self) -> str:
        return f"{self.what:<66} {self.figure:>10}  {self.target:<10} {self.verdict}"

    @property
    def figure(self) -> str:
        """The value with its unit."""
        return f"{self.value:.1%}" if self.kind == "%" else f"{self.value:.2f}{self.kind}"

    @property
    def verdict(self) -> str:
        """Whether the target is met, where there is one."""
        return {None: "", True: "met", False: "missed"}[self.is_met]


def main() -> None:
    """Print the table, and what has not been measured."""
    for name, lines in SOURCES.items():
        content = recorded(name)
        if content is None:
            print(f"\n{name}: not measured")
            continue
        told = ("date", "commit", "machine", "command")
        print(f"\n{name}: {', '.join(str(content[key]) for key in told)}")
        for line in lines(content["figures"]):
            print(f"  {line}")


def aims() -> Iterator[Line]:
    """Yield the figures that something was aimed at."""
    for name, lines in SOURCES.items():
        content = recorded(name)
        if content is not None:
            yield from (line for line in lines(content["figures"]) if line.target)


def _translations(figures: Figures) -> Iterator[Line]:
    """Ratios of whole commands, by model."""
    for model, found in figures["models"].items():
        variants = found["variants"]
        for name, variant in variants.items():
            if "times_plain" in variant and name != "plain":
                yield _speed(model, name, variant["times_plain"])
        ours = {name: v for name, v in variants.items() if name not in ("plain", "monai", "dask")}
        peers = [v for name, v in variants.items() if name not in ours]
        for name, variant in ours.items():
            if name != "torch":
                share = variant["share_not_generator"]
                what = f"{model}, {name}: wall time that is not the generator's"
                yield Line(what=what, value=share, target="<= 5%", is_met=share <= 0.05, kind="%")
            if peers:
                ratio = variant["peak_mib"] / min(peer["peak_mib"] for peer in peers)
                what = f"{model}, {name}: peak memory, of the leanest peer's"
                yield Line(what=what, value=ratio, target="< 1x", is_met=ratio < 1)
            fastest = [peer["seconds"] for peer in peers]
            if fastest:
                ratio = min(fastest) / variant["seconds"]
                what = f"{model}, {name}: times as fast as the fastest peer"
                yield Line(what=what, value=ratio, target="> 1x", is_met=ratio > 1)


def _decoding(figures: Figures) -> Iterator[Line]:
    """How much faster several threads read."""
    for form, counts in figures["forms"].items():
        for threads, found in counts.items():
            if threads != "1":
                what = f"{form}: times as fast read by {threads} threads as by one"
                yield Line(what=what, value=found["times_one"])


def _many(figures: Figures) -> Iterator[Line]:
    """One command for several scenes beside a command for each."""
    count, model = figures["scenes"], figures["model"]
    what = f"{model}, {count} scenes in one command: times as fast as a command for each"
    yield Line(what=what, value=figures["ratio"], target="> 1x", is_met=figures["ratio"] > 1)
    yield Line(what=f"{model}, {count} scenes: memory, of the other", value=figures["memory_ratio"])


def _finish(figures: Figures) -> Iterator[Line]:
    """Ratio of the way maps are finished to the one before."""
    before, *others = figures["map"]
    for way in others:
        if "(now)" in way:
            ratio = figures["map"][before]["cpu_seconds"] / figures["map"][way]["cpu_seconds"]
            yield Line(what="finishing a map: times as fast as before, CPU time", value=ratio)


def _speed(model: str, name: str, ratio: float) -> Line:
    least = {"packed": 2.0, "int8": 6.0}.get(name)
    return Line(
        what=f"{model}, {name}: times as fast as the plain script",
        value=ratio,
        target="" if least is None else f">= {least:g}x",
        is_met=None if least is None else ratio >= least,
    )


def _engines(figures: Figures) -> Iterator[Line]:
    for model, found in figures["models"].items():
        for name, engine in found["engines"].items():
            yield Line(
                what=f"{model}, {name}: of the float32 matrix product's rate",
                value=engine["share_of_sgemm"],
                kind="%",
            )
            if name != "torch":
                what = f"{model}, {name}: times as fast as the reference engine"
                yield Line(what=what, value=engine["times_torch"])


def _memory(figures: Figures) -> Iterator[Line]:
    ratio = figures["ratio"]
    what = f"{figures['model']}: memory of 20,000 rows to that of 2,000"
    yield Line(what=what, value=ratio, target="<= 1.15x", is_met=ratio <= 1.15)


def _startup(figures: Figures) -> Iterator[Line]:
    limits = {
        "help_minus_python": ("--help: seconds more than python -c pass", 0.25),
        "version_minus_python": ("--version: seconds more than python -c pass", 0.25),
        "translate_minus_torch_and_model": ("512 x 512: seconds more than torch and model", 3.0),
    }
    for name, (what, most) in limits.items():
        value = figures[name]
        target = f"<= {most:g} s"
        yield Line(what=what, value=value, target=target, is_met=value <= most, kind=" s")


def _training(figures: Figures) -> Iterator[Line]:
    """Every ratio that the training benchmark recorded, under its own name."""
    for name, value in _leaves(figures):
        if any(word in name for word in ("ratio", "times", "speedup", "speed_up")):
            yield Line(what=name, value=value)


def _gpu(figures: Figures) -> Iterator[Line]:
    for width, least in ((64, 0.5), (32, 0.35)):
        for name, engine in figures.get("generator", {}).get(f"ngf_{width}", {}).items():
            if isinstance(engine, dict) and "share_of_bf16" in engine:
                share = engine["share_of_bf16"]
                what = f"ngf {width}, {name}: of the card's bf16 matrix rate"
                yield Line(
                    what=what,
                    value=share,
                    target=f">= {least:.0%}",
                    is_met=share >= least,
                    kind="%",
                )
    ratio = figures.get("plain", {}).get("times_plain")
    if ratio is not None:
        what = "whole scene: times as fast as the plain script"
        yield Line(what=what, value=ratio, target=">= 20x", is_met=ratio >= 20)
    yield from _training(figures.get("training", {}))


def _leaves(figures: Figures, path: str = "") -> Iterator[tuple[str, float]]:
    for key, value in figures.items():
        name = f"{path} {key}".strip().replace("_", " ")
        if isinstance(value, dict):
            yield from _leaves(value, name)
        elif isinstance(value, int | float):
            yield name, float(value)


SOURCES: dict[str, Callable[[Figures], Iterator[Line]]] = {
    "translate_cpu": _translations,
    "engines": _engines,
    "memory": _memory,
    "startup": _startup,
    "decoding": _decoding,
    "many": _many,
    "finish": _finish,
    "train": _training,
    "gpu": _gpu,
}
"""Name of a file in `results/` to what makes lines of its figures."""


if __name__ == "__main__":
    main()
