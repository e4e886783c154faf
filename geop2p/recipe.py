"""The recipe: every choice of a training that decides which weights come out."""

from dataclasses import dataclass, field

from geop2p.card import Scaling
from geop2p.discriminators import DiscriminatorConfig
from geop2p.errors import OptionError
from geop2p.networks import GeneratorConfig
from geop2p.recipe_values import RecipeValues

LEAST_SIDE = 16
"""Pixels; smaller views have no SSIM, whose window is 11 wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(RecipeValues):
    """The recipe with the networks that it trains. The defaults are the paper's.

    Parameters
    ----------
    generator, discriminator
        The two networks.
    scene, map : Scaling
        Native values of the generator's input and output.

    The others are those of `geop2p.recipe_values.RecipeValues`.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    scene: Scaling = field(default_factory=Scaling)
    map: Scaling = field(default_factory=Scaling)

    def __post_init__(self) -> None:
        """Refuse a recipe that cannot be followed.

        Raises
        ------
        OptionError
            For an unknown choice, a number out of its range, or a view that does not fit.
        """
        self.check()
        multiple = self.generator.size_multiple
        if self.crop_size < LEAST_SIDE or self.crop_size % multiple:
            least = -(-LEAST_SIDE // multiple) * multiple
            raise OptionError(
                f"--crop-size {self.crop_size} does not fit {self.generator.arch} "
                f"(it must be a multiple of {multiple}, at least {least})"
            )
