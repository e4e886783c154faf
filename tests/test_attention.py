import pytest
import torch

from geop2p.attention import SelfAttention
from geop2p.card import ModelCard, card_from_json
from geop2p.engines.choice import Engine
from geop2p.engines.int8 import fault_of_int8
from geop2p.engines.packed import is_packable
from geop2p.engines.runner import make_runner
from geop2p.errors import ModelError
from geop2p.networks import GeneratorConfig, build_generator, initialise

PLACES = [("unet_256", 16), ("unet_128", 8), ("resnet_6blocks", 4)]


def generator(arch, attention, *, gain=0.0):
    made = build_generator(GeneratorConfig(arch=arch, ngf=4, attention=attention))
    initialise(made, seed=0, std=0.1)
    for module in made.modules():
        if isinstance(module, SelfAttention):
            torch.nn.init.constant_(module.gain, gain)
    return made.eval()


def test_each_place_draws_from_all_others_by_likeness():
    attention = SelfAttention(8).double()
    torch.nn.init.ones_(attention.gain)
    x = torch.randn(1, 8, 3, 5, generator=torch.Generator().manual_seed(0)).double()
    query, key, value = (
        part(x)[0].flatten(1) for part in (attention.query, attention.key, attention.value)
    )
    weights = (query.T @ key).softmax(dim=1)  # places that draw by places that are drawn from
    expected = x + (value @ weights.T).view(1, 8, 3, 5)
    torch.testing.assert_close(attention(x), expected)


def test_it_begins_by_changing_nothing():
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(SelfAttention(8)(x), x)


@pytest.mark.parametrize(("arch", "attention"), PLACES)
def test_with_it_a_pixel_sees_the_whole_tile(arch, attention):
    network = generator(arch, attention, gain=1.0)
    assert GeneratorConfig(arch=arch, attention=attention).field_radius is None
    assert sum(isinstance(module, SelfAttention) for module in network.modules()) == 1
    tile = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        assert network(tile).shape == (1, 3, 256, 256)


@pytest.mark.parametrize(("arch", "attention"), PLACES)
def test_torch_alone_runs_it(arch, attention):
    network = generator(arch, attention)
    assert not is_packable(network)
    assert fault_of_int8(network) == "self-attention cannot be run in 8 bits"
    assert is_packable(generator(arch, None))


def test_the_packed_engine_says_plainly_that_it_cannot_and_leaves_it_to_torch(caplog):
    network = generator("unet_128", 16)
    tiles = torch.rand(1, 3, 128, 128)
    engine = Engine(device="cpu", precision="fp32", batch_size=1, threads=1, name="packed")
    with torch.no_grad():
        assert torch.allclose(make_runner(network, engine)(tiles), network(tiles), atol=1e-5)
    (told,) = caplog.messages
    assert told == (
        "engine packed: it cannot run the generator's attention (give --engine torch); "
        "the torch engine is used"
    )


@pytest.mark.parametrize(
    ("arch", "attention"), [("unet_256", 3), ("unet_128", 128), ("resnet_6blocks", 16)]
)
def test_places_that_there_are_not_are_refused(arch, attention):
    with pytest.raises(ModelError, match=f"attention at 1/{attention} of {arch}"):
        GeneratorConfig(arch=arch, attention=attention)


def test_the_card_says_where_it_stands():
    card = ModelCard(name="a", generator=GeneratorConfig(ngf=2, attention=16))
    assert card_from_json(card.to_json()).generator.attention == 16
    assert "attention" not in ModelCard(name="a").to_json()
