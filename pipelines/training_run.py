"""A training run: its folder, its clock, and the loop over epochs and steps."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geop2p.batches import (
    PairStore,
    ViewRule,
    count_steps,
    epoch_batches,
    epoch_order,
    stack,
    take_pair,
)
from geop2p.checkpoint import NEWEST, save_checkpoint
from geop2p.errors import TrainingError
from geop2p.facts import CardFacts
from geop2p.pairs import PairSet
from geop2p.pipelines.stopping import signals_held_back
from geop2p.plots import save_grid
from geop2p.progress import OnProgress, Progress, ignore_progress
from geop2p.resident import ResidentPairs
from geop2p.statistics import LEAST_BATCH, has_statistics, reestimate_statistics
from geop2p.training import Position, Trainer, to_unit
from geop2p.validation import Validator, as_rgb, spread
from geop2p.writing import told_as_output_error, write_atomically

logger = logging.getLogger(__name__)

LOG, PICTURES, MODEL, PLOT = "log.jsonl", "pictures", "model.safetensors", "losses.png"
MOST_VALIDATED = 64
"""Pairs that are scored after each epoch; at the end all are."""
GRID_ROWS = 4
STATISTICS_PICTURES = (64, 512)
"""Fewest and most pictures that norm statistics are re-estimated on."""
CHECK_EVERY = 50
"""Steps between two looks at the losses on a GPU, where looking means waiting."""


class LossWatch:
    """Sums the losses of an epoch and stops a training whose losses are no numbers."""

    def __init__(
        self, run_folder: Path, *, parts: tuple[str, ...], sums: Tensor, check_every: int
    ) -> None:
        self._run_folder, self._parts, self._check_every = run_folder, parts, check_every
        self.sums = sums
        self._waiting: list[tuple[Position, Tensor]] = []

    def __len__(self) -> int:
        """Return how many steps are not in the sums yet."""
        return len(self._waiting)

    def add(self, losses: Tensor, *, position: Position) -> None:
        """Take the losses of the step at ``position``; raises what `flush` raises, now or later."""
        at = Position(**asdict(position))
        self._waiting.append((at, losses))
        if len(self._waiting) >= self._check_every:
            self.flush()

    def flush(self) -> None:
        """Add what waits to the sums.

        Raises
        ------
        TrainingError
            When a loss is NaN or infinite; it names the step and the part of the loss.
        """
        if not self._waiting:
            return
        told = torch.stack([losses for _position, losses in self._waiting]).double().cpu()
        for (position, _losses), values in zip(self._waiting, told, strict=True):
            for part, value in zip(self._parts, values.tolist(), strict=True):
                if not torch.isfinite(torch.tensor(value)):
                    raise self._error(part, value, position)
            self.sums += values
        self._waiting.clear()

    def _error(self, part: str, value: float, position: Position) -> TrainingError:
        return TrainingError(
            f"{self._run_folder}: the loss {part} is {value} at step {position.step + 1} of epoch "
            f"{position.epoch + 1} (look at the pairs, try a lower --lr or --no-amp; "
            f"{last_good(self._run_folder)})"
        )


def last_good(run_folder: Path) -> str:
    """Return where the state from before a failure is, in words."""
    newest = run_folder / NEWEST
    return f"the last good checkpoint is {newest}" if newest.exists() else "no checkpoint yet"


@dataclass(slots=True, kw_only=True)
class Run:
    """Everything that one training works with.

    Parameters
    ----------
    folder : Path
        Where log, checkpoints, pictures and the model go.
    settings : mapping
        Every option of the run, plain values only; kept in checkpoints and in the card.
    facts, given_facts : CardFacts
        As the generator's direction has them, and as they were given.
    resident : ResidentPairs or None
        The store's pairs on the device, where that is not the CPU.
    sums : (len(trainer.loss_parts),) float64
        Losses of the present epoch so far.
    seconds : float
        Time trained before this process.
    save_every : int, epochs
    save_minutes, max_minutes : float, minutes
        0: never.
    max_steps : int
        0: never.
    """

    folder: Path
    settings: Mapping[str, Any]
    facts: CardFacts
    given_facts: CardFacts
    pairs: PairSet
    store: PairStore
    validator: Validator
    trainer: Trainer
    resident: ResidentPairs | None = None
    position: Position = field(default_factory=Position)
    sums: Tensor = field(init=False)
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    save_every: int = 10
    save_minutes: float = 10.0
    max_minutes: float = 0.0
    max_steps: int = 0
    workers: int = 0
    on_progress: OnProgress = ignore_progress

    def __post_init__(self) -> None:
        """Begin with no losses."""
        self.forget_losses()

    def forget_losses(self) -> None:
        """Begin the sums of an epoch."""
        self.sums = torch.zeros(len(self.trainer.loss_parts), dtype=torch.float64)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return count_steps(len(self.store), batch_size=self.trainer.config.batch_size)

    @property
    def view_rule(self) -> ViewRule:
        """How pairs are seen; maps with a palette are pictures of classes."""
        config = self.trainer.config
        is_classes = self.given_facts.palette is not None
        is_reversed = self.settings["direction"] == "map-to-scene"
        return ViewRule(
            augment=config.augment,
            size=config.crop_size,
            seed=config.seed,
            jitter=config.jitter_scale,
            is_nearest=(is_classes and is_reversed, is_classes and not is_reversed),
        )

    @property
    def seconds_trained(self) -> float:
        """Wall time in the loop, over all processes that this run has had."""
        return self.seconds + time.monotonic() - self.started

    @property
    def is_complete(self) -> bool:
        """Return whether every epoch is done."""
        return self.position.epoch >= self.trainer.config.total_epochs

    @property
    def is_out_of_time(self) -> bool:
        """Return whether ``max_minutes`` have passed, or ``max_steps`` are done."""
        is_late = 0 < 60 * self.max_minutes <= time.monotonic() - self.started
        return is_late or 0 < self.max_steps <= self.position.total_steps

    @property
    def is_frozen(self) -> bool:
        """Return whether the last step trained with frozen norm statistics."""
        position = self.position
        last = position.epoch if position.step else position.epoch - 1
        return last >= 0 and self.trainer.config.is_frozen(last)

    @property
    def watched_mode(self) -> str:
        """Mode of the norm layers in which epochs are validated: the one they train in."""
        is_tile = self.trainer.config.batch_size == 1 and not self.is_frozen
        return "tile" if is_tile and has_statistics(self.trainer.generator) else "running"


def run_epochs(run: Run) -> None:
    """Train until every epoch is done or the time is out, then save a checkpoint.

    Raises
    ------
    TrainingError
        When a loss or a weight is no number any more.
    PairsError, OutputError
        When a pair cannot be read, or the run's folder not written to.
    """
    while not run.is_complete and not run.is_out_of_time:
        _run_epoch(run)
    save(run)


def save(run: Run) -> None:
    """Write a checkpoint of the run as it stands.

    Raises
    ------
    TrainingError
        When a weight is NaN or infinite: the last good checkpoint stays.
    OutputError
        When it cannot be written.
    """
    state = run.trainer.state()
    for name, tensor in tensors_of(state, name="state"):
        if not torch.isfinite(tensor).all():
            raise TrainingError(
                f"{run.folder}: {name} is not finite after step {run.position.total_steps} "
                f"(try a lower --lr; {last_good(run.folder)})"
            )
    facts = {
        "settings": dict(run.settings),
        "facts": run.given_facts.to_dict(),
        "fingerprint": run.pairs.fingerprint,
        "teacher": run.trainer.teacher_sha256,
        "position": asdict(run.position),
        "sums": run.sums,
        "seconds": run.seconds_trained,
    }
    save_checkpoint(run.folder, facts | state)
    run.saved = time.monotonic()


def tensors_of(value: Any, *, name: str) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401
    """Yield every tensor of a state with the names that lead to it."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from tensors_of(entry, name=f"{name} {key}")


def trim_log(folder: Path, *, epochs: int) -> None:
    """Drop the log's lines after the first ``epochs`` epochs: a resumed run writes them again."""
    log = folder / LOG
    if log.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if _epoch_of(line) <= epochs]
        write_atomically(log, "".join(f"{line}\n" for line in kept).encode())


def measure_statistics(run: Run, generator: nn.Module) -> None:
    """Re-estimate the norm statistics of a generator of the run from training pairs, in place."""
    if has_statistics(generator):
        reestimate_statistics(generator, _statistics_batches(run))


def _run_epoch(run: Run) -> None:
    epoch = run.position.epoch
    config = run.trainer.config
    if config.freeze_norm_epochs and config.is_frozen(epoch) and not run.is_frozen:
        measure_statistics(run, run.trainer.generator)
    run.trainer.begin_epoch(epoch)
    if _run_steps(run):
        seconds = run.seconds_trained
        run.position.epoch, run.position.step = epoch + 1, 0
        with _saved_when_stopped(run):
            _log_epoch(run, seconds=seconds)
        run.forget_losses()
        _save_after_epoch(run)


@contextmanager
def _saved_when_stopped(run: Run) -> Iterator[None]:
    """Save, when a signal ends what follows an epoch, as if its last step had just been done."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        run.position.epoch -= 1
        run.position.step = run.steps_per_epoch
        save(run)
        raise


def _run_steps(run: Run) -> bool:
    """Do the rest of the present epoch; return whether it was finished."""
    config, position = run.trainer.config, run.position
    watch = LossWatch(
        run.folder,
        parts=run.trainer.loss_parts,
        sums=run.sums,
        check_every=_check_every(run.trainer.device),
    )
    source = (
        partial(epoch_batches, run.store) if run.resident is None else run.resident.epoch_batches
    )
    batches = source(
        rule=run.view_rule,
        epoch=position.epoch,
        batch_size=config.batch_size,
        first_step=position.step,
        workers=run.workers,
    )
    with signals_held_back() as pending:
        for scene, truth in batches:
            watch.add(run.trainer.step(scene, truth, position=position), position=position)
            position.step += 1
            position.total_steps += 1
            _tell(run, summed=position.step - len(watch))
            if run.is_out_of_time and position.step < run.steps_per_epoch:
                watch.flush()
                return False
            if pending.has_come or 0 < 60 * run.save_minutes <= time.monotonic() - run.saved:
                watch.flush()
                save(run)
            pending.deliver()
    watch.flush()
    return True


def _check_every(device: torch.device) -> int:
    return CHECK_EVERY if device.type == "cuda" else 1


def _tell(run: Run, *, summed: int) -> None:
    """Tell how far the run is, and the mean L1 of the epoch's first ``summed`` steps."""
    config, position = run.trainer.config, run.position
    note = f"epoch {position.epoch + 1}/{config.total_epochs}"
    if summed:
        l1 = run.sums[run.trainer.loss_parts.index("generator_l1")].item() / summed
        note += f", L1 {l1:.3f}"
    run.on_progress(
        Progress(
            stage="train",
            done=position.epoch * run.steps_per_epoch + position.step,
            total=config.total_epochs * run.steps_per_epoch,
            unit="steps",
            note=note,
        )
    )


def _log_epoch(run: Run, *, seconds: float) -> None:
    position = run.position
    means = [round(mean, 5) for mean in (run.sums / run.steps_per_epoch).tolist()]
    entry: dict[str, Any] = {
        "epoch": position.epoch,
        "steps": position.total_steps,
        "seconds": round(seconds, 1),
        "lr": run.trainer.config.learning_rate(position.epoch - 1),
        "losses": dict(zip(run.trainer.loss_parts, means, strict=True)),
    }
    if run.pairs.val:
        indexes = spread(len(run.validator.store), MOST_VALIDATED)
        mode = run.watched_mode
        scores = run.validator.score(run.trainer.result, mode=mode, indexes=indexes)
        entry["validation"] = {"mode": mode, "pairs": len(indexes)} | scores
    path = run.folder / LOG
    with told_as_output_error(path), path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(entry) + "\n")


def _save_after_epoch(run: Run) -> None:
    epoch = run.position.epoch
    if epoch % run.save_every and not run.is_complete:
        return
    save_pictures(run, run.trainer.result, mode=run.watched_mode)
    if not run.is_complete:  # run_epochs saves at the end
        save(run)


def save_pictures(run: Run, generator: nn.Module, *, mode: str) -> None:
    """Write the grid of the present epoch: scene, map by ``generator`` in ``mode``, true map."""
    config = run.trainer.config
    indexes = spread(len(run.validator.store), GRID_ROWS)
    batches = run.validator.generate(generator, mode=mode, indexes=indexes)
    rows = [
        (as_rgb(scene, config.scene), as_rgb(generated, config.map), as_rgb(truth, config.map))
        for batch in batches
        for scene, generated, truth in zip(*batch, strict=True)
    ]
    folder = run.folder / PICTURES
    with told_as_output_error(folder):
        folder.mkdir(exist_ok=True)
    save_grid(folder / f"epoch-{run.position.epoch:04d}.png", rows)


def _statistics_batches(run: Run) -> Iterator[Tensor]:
    """Yield batches of the training pairs' scenes, as epochs after the last would show them."""
    config, count = run.trainer.config, len(run.store)
    fewest, most = STATISTICS_PICTURES
    pictures = max(fewest, min(most, count)) // LEAST_BATCH * LEAST_BATCH
    rule = run.view_rule
    epochs = range(config.total_epochs, config.total_epochs + -(-pictures // count))
    shown = [(i, e) for e in epochs for i in epoch_order(count, seed=config.seed, epoch=e)]
    for first in range(0, pictures, LEAST_BATCH):
        part = shown[first : first + LEAST_BATCH]
        scenes, _maps = stack([take_pair(run.store, int(i), rule=rule, epoch=e) for i, e in part])
        yield to_unit(scenes, config.scene, device=run.trainer.device)


def _epoch_of(line: str) -> int:
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):  # a line that a killed process did not finish
        return 2**31
