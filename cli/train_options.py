"""The options of ``geop2p train``, in the groups in which its help shows them.

Defaults, choices and ranges of what belongs to the recipe are those of the library: see `setting`.
"""

import math
from dataclasses import fields
from pathlib import Path

import click

from geop2p.cli.options import Option, device_option, in_order
from geop2p.pipelines.training_options import Settings
from geop2p.recipe_values import CHOICES, RANGES, Range, option

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)

# the keys of tables of the library that torch is needed to import; a test compares them
NETWORK_CHOICES = {
    "direction": ("scene-to-map", "map-to-scene"),
    "arch": ("unet_256", "unet_128", "resnet_9blocks", "resnet_6blocks"),
    "norm": ("batch", "instance"),
    "discriminator": ("patchgan", "pixel"),
    "upsample": ("transposed", "resize"),
}
SETTINGS = {entry.name: entry for entry in fields(Settings)}


def setting(name: str, text: str) -> Option:
    """Return the option of a field of `Settings`; default and kind of value are the field's.

    A truth value becomes ``--name/--no-name``; a word one of its choices; a number, or None for
    no number, one of its range, where none is stated from 1.
    """
    default = SETTINGS[name].default
    if isinstance(default, bool):
        flags = f"{option(name)}/--no-{name.replace('_', '-')}"
        return click.option(flags, default=default, show_default=True, help=text)
    return click.option(
        option(name),
        name,
        type=_kind(name),
        default=default,
        show_default=default is not None,
        help=text,
    )


def _kind(name: str) -> click.ParamType:  # type: ignore[type-arg]
    choices = (CHOICES | NETWORK_CHOICES).get(name)
    if choices is not None:
        return click.Choice(choices)
    bounds = RANGES.get(name, Range(1))
    most = None if bounds.most == math.inf else bounds.most
    is_open = {"min_open": bounds.is_least_open, "max_open": bounds.is_most_open}
    if isinstance(SETTINGS[name].default, float):
        return click.FloatRange(bounds.least, most, **is_open)
    return click.IntRange(int(bounds.least), None if most is None else int(most), **is_open)


run_options = in_order(
    click.option("--pairs", type=FOLDER, help="Folder of the pairs. Default: the resumed run's."),
    click.option(
        "--out", type=FOLDER, help="Folder of the run: checkpoints, log, pictures, model."
    ),
    click.option("--resume", type=FOLDER, help="Go on with this run from its last checkpoint."),
    setting("direction", "What is generated from what."),
    click.option(
        "--start-from",
        metavar="NAME|FILE",
        default="",
        help="Model whose weights the generator begins with. Default: random ones.",
    ),
    device_option,
    click.option(
        "--workers",
        type=click.IntRange(0),
        help="Threads that load pairs ahead. Default: 0 on a CPU, 4 for a GPU.",
    ),
    click.option(
        "--compile/--no-compile",
        "compile_networks",
        default=False,
        show_default=True,
        help="Let torch compile both networks first: minutes that long runs on a GPU gain back.",
    ),
    click.option(
        "--save-every",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Epochs between checkpoints, each with a grid of pictures.",
    ),
    click.option(
        "--save-minutes",
        type=click.FloatRange(0),
        default=10.0,
        show_default=True,
        help="Minutes between checkpoints within epochs; 0: none.",
    ),
    click.option(
        "--max-minutes",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Minutes after which to stop and finish the model as it is; 0: never.",
    ),
    click.option(
        "--max-steps",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Steps, of the whole run, after which to stop and finish it so; 0: never.",
    ),
)

network_options = in_order(
    setting("arch", "Generator."),
    setting("ngf", "Channels of the generator's first layer."),
    setting(
        "max_channels", "No layer of the generator has more channels. Default: the paper's 8 x ngf."
    ),
    setting("norm", "Norm layers of both networks."),
    setting(
        "upsample", "Doubling of pictures: transposed, or nearest neighbour and then a convolution."
    ),
    setting(
        "attention",
        "Self-attention where the picture is this part of the tile, such as 16. Default: none.",
    ),
    setting("discriminator", "Judge of overlapping patches, or of single pixels."),
    setting("ndf", "Channels of the discriminator's first layer."),
    setting("n_layers", "Strided layers of the patchgan; 3 see 70x70 pixels."),
    setting("scales", "Discriminators, each at half the size of the one before; at most 4."),
    setting("spectral_norm", "Spectral norm in the discriminator, in place of its norm layers."),
)

recipe_options = in_order(
    click.option(
        "--recipe",
        metavar="paper|best|FILE",
        default=SETTINGS["recipe"].default,
        show_default=True,
        help="Values of what is not given, by name or from a JSON file. Defaults are the paper's.",
    ),
    setting("epochs", "Epochs at the full rate."),
    setting("epochs_decay", "Epochs after these, in which the rate falls to zero."),
    setting("batch_size", "Pairs in a step."),
    setting("lr", "Adam's rate."),
    setting("schedule", "How the rate falls to zero: straight, or as half a cosine."),
    setting("lambda_l1", "Weight of L1 beside the adversarial loss."),
    setting("lambda_gan", "Weight of the adversarial loss; 0: no discriminator at all."),
    setting("gan_mode", "Adversarial loss: cross-entropy, least squares, or hinge."),
    setting("lambda_fm", "Weight of matching the discriminator's features; 0: none."),
    setting("diffaug", "What the discriminator sees is changed by, true and generated alike."),
    click.option(
        "--teacher",
        default="",
        metavar="MODEL",
        help="A trained model, by name or file, whose pictures are to be drawn as well.",
    ),
    setting("lambda_distill", "Weight of L1 to the teacher's picture; 0: none."),
    setting("lambda_ce", "Weight of the cross-entropy of the palette's classes; 0: none."),
    setting(
        "ce_temperature",
        "How near a colour must be to count as its class: squared distance in [-1, 1].",
    ),
    setting(
        "class_weights",
        "Weights of classes in it: all the same, or by the inverse root of their share.",
    ),
    setting("augment", "Centre; random place, mirrored or not; also turned by quarters."),
    setting("jitter_scale", "Views show up to this part more or less than their own side."),
    setting("jitter_colour", "Largest change of the scene's brightness, contrast, saturation."),
    setting("sampling", "Every pair once an epoch, or more often those of rare classes."),
    setting("load_size", "Side in pixels that pairs are resized to; 0: their own."),
    setting("crop_size", "Side in pixels of the view taken from that: the model's tile."),
    setting(
        "freeze_norm_epochs", "Last epochs, trained with the norm statistics that translation uses."
    ),
    setting(
        "ema",
        "Validate and save an average of the weights with this decay, such as 0.999; 0: none.",
    ),
    setting("seed", "Of weights, order, views and dropout."),
    setting("amp", "Train in bfloat16 where that is precise enough: quicker on a GPU."),
)

card_options = in_order(
    click.option(
        "--card",
        type=FILE,
        help="JSON file with description, data, licence, limits, gsd_m, palette ... for the card.",
    ),
    click.option("--name", help="Name of the model. Default: the name of the run's folder."),
    click.option(
        "--palette",
        metavar="FILE|NAME",
        help="Classes of the map's colours: a JSON file or a shipped name (streets, roads). "
        "Default: those beside the pairs.",
    ),
    click.option(
        "--gsd",
        "gsd_m",
        type=click.FloatRange(0, min_open=True),
        help="Ground sample distance of the pairs in metres. Default: that in their manifest.",
    ),
)
