"""Train a generator from pairs: options checked, a run begun or resumed, trained and finished."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import torch

from geop2p.batches import PairStore
from geop2p.card import MAP_DTYPES
from geop2p.checkpoint import has_checkpoint, load_checkpoint, remove_remains
from geop2p.cores import usable_cores
from geop2p.discriminators import DiscriminatorConfig
from geop2p.errors import (
    CheckpointError,
    OptionError,
    OutOfMemoryError,
    OutputError,
    PairsError,
)
from geop2p.facts import CardFacts, band_names, parse_facts, reversed_facts, scaling_of
from geop2p.generator import is_of_memory
from geop2p.locking import held
from geop2p.networks import GeneratorConfig
from geop2p.pairs import DIRECTIONS, Pair, PairSet, PatchSpec, describe_pair, find_pairs
from geop2p.palette import Palette
from geop2p.pipelines.balancing import chances_for
from geop2p.pipelines.beginning import begin_from
from geop2p.pipelines.finishing import Finished, finish
from geop2p.pipelines.guidance import guidance_for
from geop2p.pipelines.recipe_choice import chosen_settings
from geop2p.pipelines.recipe_files import recipe_name, write_recipe
from geop2p.pipelines.resuming import (
    check_epochs_left,
    check_networks,
    check_teacher,
    extended,
    kept_settings,
    take_over,
    told_as_damage,
)
from geop2p.pipelines.training_device import (
    loader_threads,
    ready_trainer,
    resident_pairs,
    training_device,
)
from geop2p.pipelines.training_facts import completed_facts, given_facts
from geop2p.pipelines.training_options import RunOptions, Settings, TrainOptions, part
from geop2p.pipelines.training_run import MODEL, Run, run_epochs, trim_log
from geop2p.recipe import TrainingConfig
from geop2p.recipe_values import RecipeValues
from geop2p.validation import Validator, spread
from geop2p.writing import told_as_output_error

MOST_SCORED_OF_TRAINING = 64
"""Training pairs that are scored where no pair validates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training came to.

    Parameters
    ----------
    folder, model_path : Path
        The run and its model.
    sha256 : str
        Of the model file.
    is_complete : bool
        Every epoch is done; False when ``max_minutes`` or ``max_steps`` ended it.
    epochs, steps : int
        Done, over all processes of this run.
    seconds : float
        Spent in this process.
    train_pairs, val_pairs : int
    scores : dict
        As in the card: by data set, then by mode of the norm layers.
    norm_statistics : str
        The mode that the card holds.
    notes : tuple of str
        What a user should know.
    """

    folder: Path
    model_path: Path
    sha256: str
    is_complete: bool
    epochs: int
    steps: int
    seconds: float
    train_pairs: int
    val_pairs: int
    scores: Mapping[str, Any]
    norm_statistics: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, paths as text."""
        content = asdict(self)
        return content | {"folder": str(self.folder), "model_path": str(self.model_path)}


def train(
    pairs: str | Path | None = None, out: str | Path | None = None, **options: Unpack[TrainOptions]
) -> TrainReport:
    """Train a generator and write its model; go on with a run where ``resume`` names one.

    Parameters
    ----------
    pairs : str or Path
        Folder of the pairs, see `geop2p.pairs`; a resumed run knows its own.
    out : str or Path
        Folder of the run: checkpoints, ``log.jsonl``, pictures, ``model.safetensors``.
    **options
        See `Settings` and `RunOptions`. A resumed run keeps its settings; of these only
        ``epochs``, ``epochs_decay`` and ``freeze_norm_epochs`` may be given anew. ``recipe`` is
        the name of a shipped recipe or a file; other options go before its values.

    Raises
    ------
    OptionError
        For options that contradict each other, the pairs, or the run to resume.
    PairsError
        When the pairs cannot be read or do not match.
    CheckpointError
        When the run to resume has no usable checkpoint.
    OutputError
        When ``out`` holds a run already, is held by another process, or cannot be written to.
    DiskFullError
        When the disk does not take a file; the checkpoints stay.
    OutOfMemoryError
        When networks and batch do not fit.
    TrainingError
        When a loss or weight is no number any more.
    """
    started = time.monotonic()
    given: dict[str, Any] = dict(options)
    run_options = RunOptions(**part(RunOptions, given))
    given = {name: value for name, value in given.items() if name not in part(RunOptions, given)}
    unknown = given.keys() - part(Settings, given).keys()
    if unknown:
        raise TypeError(f"train() has no option {', '.join(sorted(unknown))}")
    folder = _run_folder(pairs, out, run_options)
    with held(folder), _undisturbed_torch(), _told_as_out_of_memory():
        if run_options.resume is None:
            run = _begin(pairs, folder, given=given, options=run_options)
        else:
            run = _resume(pairs, folder, given=given, options=run_options)
        write_recipe(folder, run.settings)
        run_epochs(run)
        finished = finish(run)
    return _report(run, finished, seconds=time.monotonic() - started)


def _run_folder(pairs: str | Path | None, out: str | Path | None, options: RunOptions) -> Path:
    """Return the folder of the run; one to be resumed exists, another one's parents do."""
    if options.resume is not None:
        folder = Path(options.resume)
        if out is not None and Path(out).resolve() != folder.resolve():
            raise OptionError(f"--out {out} and --resume {folder} differ (leave --out away)")
        if not has_checkpoint(folder):
            raise CheckpointError(f"{folder}: no checkpoint (give the folder of a run, its --out)")
        return folder
    if pairs is None or out is None:
        raise OptionError("a new run needs --pairs DIR and --out RUN (or --resume RUN)")
    folder = Path(out)
    with told_as_output_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _begin(
    pairs: str | Path | None, folder: Path, *, given: Mapping[str, Any], options: RunOptions
) -> Run:
    if has_checkpoint(folder) or (folder / MODEL).exists():
        raise OutputError(
            f"{folder}: holds a run already (--resume goes on with it; or another --out)"
        )
    facts = given_facts(options, known=CardFacts())
    found = find_pairs(Path(pairs or ""))
    facts = completed_facts(facts, found)
    settings = chosen_settings(given, has_palette=facts.palette is not None)
    run = _open(found, folder, settings=settings, facts=facts, options=options)
    if settings.start_from:
        begin_from(run, settings.start_from)
    with told_as_output_error(folder):
        folder.mkdir(exist_ok=True)
    trim_log(folder, epochs=0)
    return run


def _resume(
    pairs: str | Path | None, folder: Path, *, given: dict[str, Any], options: RunOptions
) -> Run:
    state = load_checkpoint(folder)
    with told_as_output_error(folder):
        remove_remains(folder)
    with told_as_damage(folder):
        known_pairs, known_settings = kept_settings(state["settings"])
        known_facts = parse_facts(state["facts"])
    if "recipe" in given:  # its values stay those that the run was begun with
        given = given | {"recipe": recipe_name(given["recipe"])}
    source = Path(pairs or known_pairs)
    settings = extended(folder, known_settings, given)
    facts = given_facts(options, known=known_facts)
    found = find_pairs(source)
    run = _open(found, folder, settings=settings, facts=facts, options=options, state=state)
    if run.pairs.fingerprint != state.get("fingerprint"):
        raise PairsError(f"{source}: not the pairs that {folder} was trained on (give those)")
    check_teacher(run, state)
    with told_as_damage(folder):
        take_over(run, state)
    check_epochs_left(run)
    trim_log(folder, epochs=run.position.epoch)
    return run


def _open(
    found: PairSet,
    folder: Path,
    *,
    settings: Settings,
    facts: CardFacts,
    options: RunOptions,
    state: Mapping[str, Any] | None = None,
) -> Run:
    """Return a run at its beginning; ``state`` is what it will go on from."""
    _check_direction(settings)
    is_reversed = settings.direction == "map-to-scene"
    specs = _check_pairs(found, settings)
    facts_seen = reversed_facts(facts) if is_reversed else facts
    config = _config(settings, specs, facts_seen)
    _check_facts(facts_seen, config)
    if state is not None:
        with told_as_damage(folder):
            check_networks(state, config)
    device = training_device(options.device)
    store = _training_store(found, settings, facts.palette)
    palette = facts_seen.palette
    guidance = guidance_for(config, palette=palette, store=store, teacher=settings.teacher)
    trainer = ready_trainer(
        config, device, guidance=guidance, compile_networks=options.compile_networks
    )
    return Run(
        folder=folder,
        settings={"pairs": str(found.folder.resolve())} | asdict(settings),
        facts=facts_seen,
        given_facts=facts,
        pairs=found,
        store=store,
        resident=resident_pairs(store, device),
        validator=Validator(
            store=PairStore(_scored(found), load_size=settings.load_size, is_reversed=is_reversed),
            config=config,
            palette=palette,
        ),
        trainer=trainer,
        save_every=options.save_every,
        save_minutes=options.save_minutes,
        max_minutes=options.max_minutes,
        max_steps=options.max_steps,
        workers=loader_threads(options.workers, device),
        on_progress=options.on_progress,
    )


def _check_direction(settings: Settings) -> None:
    if settings.direction not in DIRECTIONS:
        raise OptionError(
            f"--direction {settings.direction!r} (choose from {', '.join(DIRECTIONS)})"
        )
    if settings.jitter_colour and settings.direction == "map-to-scene":
        raise OptionError("--jitter-colour with maps as input (their colours say what is there)")


def _training_store(found: PairSet, settings: Settings, palette: Palette | None) -> PairStore:
    """Return the pairs that train, and the chances with which each is drawn."""
    is_reversed = settings.direction == "map-to-scene"
    store = PairStore(found.train, load_size=settings.load_size, is_reversed=is_reversed)
    store.chances = chances_for(
        store, sampling=settings.sampling, palette=palette, is_reversed=is_reversed
    )
    return store


def _scored(found: PairSet) -> tuple[Pair, ...]:
    """Return the pairs that validate: where there are none, some of those that train."""
    indexes = spread(len(found.train), MOST_SCORED_OF_TRAINING)
    return found.val or tuple(found.train[i] for i in indexes)


def _check_pairs(found: PairSet, settings: Settings) -> tuple[PatchSpec, PatchSpec]:
    """Compare the headers of all pairs; return scene and map of the first one.

    Raises
    ------
    PairsError
        When bands, types or the sizes within a pair differ, or a patch is smaller than the view.
    """
    first = describe_pair(found.train[0])
    for pair in (*found.train, *found.val):
        _check_pair(pair, first, settings)
    return first


def _check_pair(pair: Pair, first: tuple[PatchSpec, PatchSpec], settings: Settings) -> None:
    scene, drawn = describe_pair(pair)
    for spec, expected in zip((scene, drawn), first, strict=True):
        if (spec.bands, spec.dtype) != (expected.bands, expected.dtype):
            raise PairsError(
                f"{pair.scene_path}: {spec.bands} bands of {spec.dtype}, the first pair has "
                f"{expected.bands} of {expected.dtype} (all pairs must be alike)"
            )
    if (scene.height, scene.width) != (drawn.height, drawn.width):
        raise PairsError(
            f"{pair.map_path}: {drawn.width}x{drawn.height} pixels, its scene has "
            f"{scene.width}x{scene.height} (both must show the same ground at the same size)"
        )
    if not settings.load_size and min(scene.height, scene.width) < settings.crop_size:
        raise PairsError(
            f"{pair.scene_path}: {scene.width}x{scene.height} pixels, the view is "
            f"{settings.crop_size} (give --load-size, or larger pairs)"
        )


def _config(
    settings: Settings, specs: tuple[PatchSpec, PatchSpec], facts: CardFacts
) -> TrainingConfig:
    scene, drawn = reversed(specs) if settings.direction == "map-to-scene" else specs
    values = asdict(settings)
    generator = GeneratorConfig(
        in_bands=scene.bands, out_bands=drawn.bands, **part(GeneratorConfig, values)
    )
    judge = values | {"arch": settings.discriminator}
    discriminator = DiscriminatorConfig(
        bands=scene.bands + drawn.bands, **part(DiscriminatorConfig, judge)
    )
    return TrainingConfig(
        generator=generator,
        discriminator=discriminator,
        scene=scaling_of(scene.dtype, facts.scene_range),
        map=scaling_of(drawn.dtype, facts.map_range),
        **part(RecipeValues, values),
    )


def _check_facts(facts: CardFacts, config: TrainingConfig) -> None:
    """Refuse facts that do not fit the pairs, before hours are spent on them."""
    band_names(facts.scene_bands, config.generator.in_bands)
    band_names(facts.map_bands, config.generator.out_bands)
    if config.map.dtype not in MAP_DTYPES:
        raise PairsError(f"maps of type {config.map.dtype} (choose from {', '.join(MAP_DTYPES)})")
    if facts.palette and (config.map.dtype, config.generator.out_bands) != ("uint8", 3):
        raise OptionError("a palette needs maps of red, green and blue in uint8")


@contextmanager
def _undisturbed_torch() -> Iterator[None]:
    """Use all cores and random numbers of our own; leave torch as it was.

    ``OMP_NUM_THREADS``, where it is set, says how many cores; weights are the same to the last bit
    only for the same number.
    """
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())
    try:
        with torch.random.fork_rng(devices=range(_usable_gpus())):
            yield
    finally:
        torch.set_num_threads(threads)


def _usable_gpus() -> int:
    """Return how many GPUs have random numbers; a driver that is too old lists some, too."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@contextmanager
def _told_as_out_of_memory() -> Iterator[None]:
    """Raise what torch says of missing memory, in the several ways that it has, as one error."""
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not is_of_memory(exc):
            raise
        raise OutOfMemoryError(
            "no memory for this training: networks and a batch do not fit "
            "(try a smaller --batch-size, --ngf, --ndf or --crop-size; --resume goes on with a run)"
        ) from exc


def _resizing_note(run: Run) -> str:
    """Return what to say when resizing changes the ground sample distance of pairs."""
    size = run.trainer.config.load_size
    scene, _drawn = describe_pair(run.pairs.train[0])
    if size in {0, scene.height} and size in {0, scene.width}:
        return ""
    return f"pairs of {scene.width}x{scene.height} pixels are resized to {size}x{size}"


def _report(run: Run, finished: Finished, *, seconds: float) -> TrainReport:
    notes = tuple(note for note in (run.pairs.note, _resizing_note(run)) if note)
    return TrainReport(
        folder=run.folder,
        model_path=finished.model_path,
        sha256=finished.sha256,
        is_complete=run.is_complete,
        epochs=run.position.epoch,
        steps=run.position.total_steps,
        seconds=round(seconds, 1),
        train_pairs=len(run.pairs.train),
        val_pairs=len(run.pairs.val),
        scores=finished.card.scores,
        norm_statistics=finished.card.norm_statistics,
        notes=(*notes, *finished.notes),
    )
