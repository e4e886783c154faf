"""What a new run begins with: another model's weights in place of random ones."""

from geop2p.errors import OptionError
from geop2p.model import load_model
from geop2p.pipelines.training_run import Run


def begin_from(run: Run, name_or_path: str) -> None:
    """Give the generator of a run the weights and norm statistics of a model.

    The discriminator, where there is one, begins with random weights: no model file holds one.

    Raises
    ------
    ModelError
        When the model cannot be read.
    OptionError
        When its architecture, or the values of its scenes or maps, are not those of the run.
    """
    model = load_model(name_or_path, norm_statistics="running")
    config = run.trainer.config
    for what, found, expected in (
        ("generator", model.card.generator, config.generator),
        ("scene values", model.card.scene, config.scene),
        ("map values", model.card.map, config.map),
    ):
        if found != expected:
            raise OptionError(
                f"--start-from {name_or_path}: its {what} are {found}, those of this run are "
                f"{expected} (give the same options, or leave --start-from away)"
            )
    run.trainer.take_weights(model.generator.state_dict())
