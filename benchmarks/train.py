"""Images per second of training, against a plain pix2pix loop: same networks, batch and work.

    python benchmarks/train.py                   # on a CPU: batch 1 and 4
    python benchmarks/train.py --device cuda     # batch 1 and 16, and in mixed precision

The plain loop is what users of pix2pix write: pictures opened with Pillow, resized to 286, cropped
and mirrored one by one in a DataLoader, networks in torch's default layout, one batch at a time,
``loss.item()`` after every step. Both loops train from the same folder of side-by-side pictures.
They take turns of a few steps, each in a process of its own that waits meanwhile; the figures are
the quickest turn, the median of the ratios of neighbouring turns, and the ratio of the least CPU
times, which other load on the machine changes least. Before that, both do one step
on equal pictures without dropout, and their losses must agree. It needs torch, numpy, Pillow and
safetensors, and nothing else.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image
from plain_training import PlainTrainer, plain_loader
from record import record
from torch import Tensor

from geop2p.allocator import keep_freed_memory
from geop2p.batches import PairStore, ViewRule, epoch_batches
from geop2p.discriminators import DiscriminatorConfig
from geop2p.networks import GeneratorConfig
from geop2p.pairs import find_pairs
from geop2p.recipe import TrainingConfig
from geop2p.resident import ResidentPairs
from geop2p.training import Position, Trainer

PAIRS = 64
TOLERANCE = 2e-3
"""Of the losses of one step, which are rounded in another order and follow an update of Adam."""
ROLES = ("plain", "geop2p")
CHECK = "check"
"""A process that compares the losses, so that its networks count in nobody's memory."""
SMALL = {
    "generator": GeneratorConfig(ngf=32, max_channels=160),
    "discriminator": DiscriminatorConfig(ndf=16),
}
"""The networks of the bundled model `streets`."""
Turn = Callable[[], None]


def main() -> None:
    """Measure every case and record."""
    options = _options()
    if options.role:
        serve(cases(options)[options.only[0]], options=options)
        return
    device = torch.device(options.device)
    figures: dict[str, Any] = {"torch": torch.__version__, "device": _name(device)}
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(Path(folder))
        for name in cases(options):
            figures[name] = measure(name, Path(folder), options=options)
            print(name, json.dumps(figures[name]), file=sys.stderr)
    if options.json:
        print(json.dumps(figures))
    else:
        record("train", figures)


def write_pairs(folder: Path) -> None:
    """Write `PAIRS` side-by-side pictures of 512x256 pixels, as JPEGs."""
    random = np.random.default_rng(0)
    for number in range(PAIRS):
        coarse = random.integers(0, 256, (32, 64, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((512, 256), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:03d}.jpg", quality=90)


def measure(name: str, folder: Path, *, options: argparse.Namespace) -> dict[str, Any]:
    """Return images per second of both loops, their ratio and their peak memory."""
    check = Loop(CHECK, name, folder)
    difference = check.end()["difference"]
    check.kill()
    loops = {role: Loop(role, name, folder) for role in ROLES}
    try:
        seconds = alternate(loops, rounds=options.rounds)
        ends = {role: loop.end() for role, loop in loops.items()}
    finally:
        for loop in loops.values():
            loop.kill()
    config = cases(options)[name]
    images = config.batch_size * options.steps
    ratios = [a / b for a, b in zip(seconds["plain"], seconds["geop2p"], strict=True)]
    return {
        "batch": config.batch_size,
        "ngf": config.generator.ngf,
        "amp": config.amp,
        "images_per_second": {role: images / min(found) for role, found in seconds.items()},
        "times_plain_quickest": min(seconds["plain"]) / min(seconds["geop2p"]),
        "times_plain_median": statistics.median(ratios),
        "cpu_times_plain": ends["plain"]["cpu_seconds"] / ends["geop2p"]["cpu_seconds"],
        "peak_mib": {role: end["peak_mib"] for role, end in ends.items()},
        "largest_difference_of_losses": difference,
        **({"not_compiled": ends["geop2p"]["problem"]} if ends["geop2p"]["problem"] else {}),
    }


def alternate(loops: Mapping[str, "Loop"], *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every turn; the first of each is not counted."""
    for loop in loops.values():
        loop.turn()
    seconds: dict[str, list[float]] = {role: [] for role in loops}
    for _round in range(rounds):
        for role, loop in loops.items():
            seconds[role].append(loop.turn())
    return seconds


class Loop:
    """A loop in a process of its own, which does a turn when it is told to."""

    def __init__(self, role: str, case: str, folder: Path) -> None:
        words = [sys.executable, __file__, *sys.argv[1:], "--role", role, "--only", case]
        environment = os.environ | {"BENCHMARK_PAIRS": str(folder)}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def turn(self) -> float:
        """Return the seconds of the next turn."""
        return float(self._asked("turn")["seconds"])

    def end(self) -> dict[str, Any]:
        """End the process; return what it found out beside its speed."""
        return self._asked("end")

    def kill(self) -> None:
        """End the process whatever it does; those of its loader end by themselves."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _asked(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"{self._process.args}: ended early")


def serve(config: TrainingConfig, *, options: argparse.Namespace) -> None:
    """Do turns as they are asked for on standard input."""
    device, folder = torch.device(options.device), Path(os.environ["BENCHMARK_PAIRS"])
    told: dict[str, Any] = {"problem": ""}
    cpu_seconds: list[float] = []
    if options.role == CHECK:
        print(json.dumps({"difference": loss_difference(config, device)}), flush=True)
        return
    if options.role == "plain":
        turn = _plain_turn(PlainTrainer(config, device=device), folder, options)
    else:
        if device.type == "cpu":
            keep_freed_memory()  # as the command does
        trainer = Trainer(config, device=device)
        told["problem"] = trainer.compile_networks() if options.compile else ""
        turn = _our_turn(trainer, folder, options)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        start, cpu = time.perf_counter(), time.process_time()
        turn()
        _wait(device)
        cpu_seconds.append(time.process_time() - cpu)
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    told |= {"peak_mib": _peak_mib(device), "cpu_seconds": min(cpu_seconds)}
    print(json.dumps(told), flush=True)


def loss_difference(config: TrainingConfig, device: torch.device) -> float:
    """Return the largest difference of the losses of a step on equal pictures, without dropout.

    Raises
    ------
    SystemExit
        When it is no rounding: the two loops would not do the same work.
    """
    torch.backends.cudnn.allow_tf32 = False
    plain, ours = PlainTrainer(config, device=device), Trainer(config, device=device)
    plain.take_weights(ours)
    ours.begin_epoch(0)
    for network in (plain.generator, ours.generator):
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    pixels = torch.randint(
        0, 256, (2, config.batch_size, 3, 256, 256), generator=torch.Generator().manual_seed(0)
    ).byte()
    found = ours.step(*pixels, position=Position()).tolist()
    scene, truth = pixels.float() / 127.5 - 1
    expected = plain.step(scene, truth)
    torch.backends.cudnn.allow_tf32 = True
    difference = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    if not config.amp and difference > TOLERANCE:
        sys.exit(f"losses differ: {found} instead of {expected}")
    return difference


def _plain_turn(trainer: PlainTrainer, folder: Path, options: argparse.Namespace) -> Turn:
    batches = _endless(
        lambda: plain_loader(
            folder,
            batch_size=trainer.batch_size,
            workers=options.plain_workers,
            is_pinned=trainer.device.type == "cuda",
        )
    )

    def turn() -> None:
        for scene, truth in itertools.islice(batches, options.steps):
            trainer.step(scene, truth)

    return turn


def _our_turn(trainer: Trainer, folder: Path, options: argparse.Namespace) -> Turn:
    batches = _our_batches(trainer, folder)
    steps = itertools.count()
    trainer.begin_epoch(0)

    def turn() -> None:
        losses = [
            trainer.step(*batch, position=Position(step=next(steps)))
            for batch in itertools.islice(batches, options.steps)
        ]
        torch.stack(losses).cpu()  # looked at once in so many steps, as `geop2p train` does

    return turn


def _our_batches(trainer: Trainer, folder: Path) -> Iterator[tuple[Tensor, Tensor]]:
    config = trainer.config
    store = PairStore(find_pairs(folder).train, load_size=config.load_size)
    store.pairs = store.pairs[: len(store) // config.batch_size * config.batch_size]
    rule = ViewRule(augment="paper", size=config.crop_size, seed=0)
    is_gpu = trainer.device.type == "cuda"
    resident = ResidentPairs(store, device=trainer.device, most_bytes=1 << 30)
    for epoch in itertools.count():
        facts: dict[str, Any] = {"rule": rule, "epoch": epoch, "batch_size": config.batch_size}
        if is_gpu:
            yield from resident.epoch_batches(**facts, workers=4)
        else:
            yield from epoch_batches(store, **facts)


def _endless(make: Callable[[], Any]) -> Iterator[Any]:
    loader = make()
    while True:
        yield from loader


def cases(options: argparse.Namespace) -> dict[str, TrainingConfig]:
    """Return what is trained, by the name of its figures."""
    if options.device == "cpu":
        cases = {"batch_1": {"batch_size": 1}, "batch_4": {"batch_size": 4}}
        cases["streets_batch_4"] = SMALL | {"batch_size": 4}  # type: ignore[assignment]
    else:
        cases = {
            f"batch_{size}{'_amp' * amp}": {"batch_size": size, "amp": amp}
            for size in (1, 16)
            for amp in (False, True)
        }
    kept = {name: facts for name, facts in cases.items() if name in (options.only or cases)}
    return {name: TrainingConfig(**facts) for name, facts in kept.items()}  # type: ignore[arg-type]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def _peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", help="cases, such as batch_1")
    parser.add_argument("--rounds", type=int, help="turns of each loop")
    parser.add_argument("--steps", type=int, help="steps of a turn")
    parser.add_argument("--plain-workers", type=int, help="processes of the plain loop's loader")
    parser.add_argument("--compile", action="store_true", help="compile geop2p's networks")
    parser.add_argument("--role", choices=(*ROLES, CHECK), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print the figures, keep no file")
    options = parser.parse_args()
    is_cpu = options.device == "cpu"
    defaults = {"rounds": 5, "steps": 2 if is_cpu else 20, "plain_workers": 0 if is_cpu else 4}
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    main()
