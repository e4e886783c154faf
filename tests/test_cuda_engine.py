"""The bf16 engine of GPUs: what can be seen of it on a CPU, and on a GPU where there is one."""

import copy

import pytest
import torch

from geop2p.engines.choice import Engine
from geop2p.engines.cuda import HalfRunner
from geop2p.engines.folding import folded
from geop2p.engines.reference import TorchRunner
from geop2p.engines.runner import make_runner
from geop2p.networks import GeneratorConfig, build_generator, initialise

HALF = Engine(precision="bf16", batch_size=2)
GPU = Engine(device="cuda", precision="bf16", batch_size=2)
NETWORKS = [
    {"arch": "unet_128", "ngf": 8},
    {"arch": "resnet_6blocks", "ngf": 8},
    {"arch": "unet_128", "ngf": 8, "norm": "instance"},
]


def network(**config):
    made = build_generator(GeneratorConfig(**config))
    initialise(made, seed=1, std=0.1)
    return made.eval()


def tiles(count=2, *, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.rand((count, 3, 128, 128), generator=random) * 2 - 1


@pytest.mark.parametrize("config", NETWORKS, ids=str)
@torch.inference_mode()
def test_half_is_near_to_float32_and_float32_comes_out(config):
    made = network(**config)
    drawn, exact = HalfRunner(made, HALF)(tiles()), made(tiles())
    assert drawn.dtype == torch.float32
    assert (drawn - exact).abs().mean() < 0.01
    assert not torch.equal(drawn, exact)


@pytest.mark.parametrize("config", NETWORKS, ids=str)
@torch.inference_mode()
def test_the_head_keeps_its_weights_and_is_computed_in_float32_after_a_body_in_half(config):
    made = network(**config)
    body = folded(made).to(memory_format=torch.channels_last)
    head = copy.deepcopy(body.head)
    features = body.to(torch.bfloat16).body(tiles().bfloat16())
    assert torch.equal(HalfRunner(made, HALF)(tiles()), head(features.float()))
    assert {p.dtype for p in made.parameters()} == {torch.float32}


@torch.inference_mode()
def test_a_batch_is_recorded_once_a_shape_and_results_do_not_overwrite_each_other():
    shapes, buffer = [], {}

    def record(draw, example):
        shapes.append(tuple(example.shape))

        def replay(given):
            drawn = draw(given)
            kept = buffer.setdefault(drawn.shape, torch.empty_like(drawn))
            return kept.copy_(drawn)

        return replay

    made = network(**NETWORKS[0])
    recorded, plain = HalfRunner(made, HALF, record=record), HalfRunner(made, HALF)
    batches = [tiles(2), tiles(2, seed=1), tiles(1, seed=2)]
    drawn = [recorded(batch) for batch in batches]
    assert all(torch.equal(a, plain(b)) for a, b in zip(drawn, batches, strict=True))
    assert shapes == [(2, 3, 128, 128), (1, 3, 128, 128)]


@torch.inference_mode()
def test_what_cannot_be_recorded_is_run_plainly_and_told_once(caplog):
    def record(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    made = network(**NETWORKS[0])
    runner = HalfRunner(made, HALF, record=record)
    plain = HalfRunner(made, HALF)
    assert torch.equal(runner(tiles()), plain(tiles()))
    runner(tiles(1))
    (told,) = [entry.getMessage() for entry in caplog.records]
    assert told.startswith("batches cannot be recorded (operation not permitted when stream is")
    assert "\n" not in told


@torch.inference_mode()
def test_too_little_memory_for_a_recording_is_not_taken_for_something_else():
    def record(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        HalfRunner(network(**NETWORKS[0]), HALF, record=record)(tiles())


@pytest.mark.gpu
@torch.inference_mode()
def test_a_recorded_batch_is_the_plain_one_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    made = network(**NETWORKS[0])
    runner = make_runner(made, GPU)
    assert isinstance(runner, HalfRunner)
    for seed in range(3):
        given = tiles(seed=seed).cuda()
        assert torch.equal(runner(given), runner._draw(given))


@pytest.mark.gpu
@torch.inference_mode()
def test_float32_on_a_gpu_is_the_reference():
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    runner = make_runner(network(**NETWORKS[0]), Engine(device="cuda", batch_size=2))
    assert isinstance(runner, TorchRunner)
