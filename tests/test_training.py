import copy
import math
from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F

from geop2p.card import Scaling
from geop2p.classification import ClassTask
from geop2p.discriminators import DiscriminatorConfig
from geop2p.errors import OptionError
from geop2p.losses import adversarial_loss, deceiving_loss, feature_loss, l1_loss
from geop2p.networks import GeneratorConfig
from geop2p.objective import Guidance, loss_parts
from geop2p.palette import Palette
from geop2p.pipelines.training_run import tensors_of
from geop2p.recipe import TrainingConfig
from geop2p.training import (
    Position,
    Trainer,
    _amp_dtype,
    _dropout_seed,
    from_unit,
    is_amp_slow,
    to_unit,
)

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
GENERATOR = GeneratorConfig(arch="resnet_6blocks", ngf=4)
DISCRIMINATOR = DiscriminatorConfig(ndf=4, n_layers=1)


def config(**changes):
    facts = {"generator": GENERATOR, "discriminator": DISCRIMINATOR, "crop_size": 16}
    return TrainingConfig(**(facts | {"load_size": 0} | changes))


def batch(seed=0, *, count=2):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, count, 3, 16, 16), generator=random, dtype=torch.uint8)


PALETTE = Palette.from_list(
    [
        {"index": 1, "name": "land", "colour": "#F2EFE9"},
        {"index": 2, "name": "water", "colour": "#AAD3DF"},
    ]
)
GUIDANCE = Guidance(task=ClassTask.of_palette(PALETTE, Scaling()))
OPTIONS = [
    {"lambda_gan": 0.0},
    {"ema": 0.9},
    {"lambda_ce": 1.0},
    {"gan_mode": "hinge"},
    {"lambda_fm": 10.0},
    {"diffaug": "colour+translation+cutout"},
    {"discriminator": DiscriminatorConfig(ndf=4, n_layers=1, spectral_norm=True)},
    {"discriminator": DiscriminatorConfig(ndf=4, n_layers=1, scales=2), "lambda_fm": 10.0},
    {"generator": GeneratorConfig(arch="resnet_6blocks", ngf=4, upsample="resize")},
    {"generator": GeneratorConfig(arch="resnet_6blocks", ngf=4, attention=4)},
    {"ema": 0.9, "lambda_ce": 1.0, "gan_mode": "hinge", "lambda_gan": 2.0},
]
"""Recipes other than the paper's."""


def named(options):
    return " ".join(f"{name}={value}" for name, value in options.items())


def trained(steps, **changes):
    trainer = Trainer(config(**changes), device=CPU, guidance=GUIDANCE)
    trainer.begin_epoch(0)
    losses = [trainer.step(*batch(), position=Position(step=step)) for step in range(steps)]
    return trainer, losses


def test_the_default_recipe_is_the_papers():
    paper = TrainingConfig()
    assert paper.generator == GeneratorConfig(arch="unet_256", ngf=64, norm="batch", dropout=True)
    assert (paper.discriminator.arch, paper.discriminator.n_layers) == ("patchgan", 3)
    assert (paper.lr, paper.batch_size, paper.lambda_l1) == (2e-4, 1, 100)
    assert paper.gan_mode == "vanilla"
    assert (paper.load_size, paper.crop_size, paper.augment) == (286, 256, "paper")
    assert (paper.epochs, paper.epochs_decay) == (100, 100)


def test_the_rate_is_constant_then_falls_straight_to_zero():
    rates = [config(epochs=2, epochs_decay=3, lr=1.0).learning_rate(epoch) for epoch in range(6)]
    assert rates == pytest.approx([1, 1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge"])
def test_training_lowers_l1(mode):
    _trainer, losses = trained(30, gan_mode=mode, lr=2e-3)
    assert losses[-1][3] < 0.8 * losses[0][3]


def test_the_pixel_discriminator_trains():
    judge = DiscriminatorConfig(arch="pixel", ndf=4)
    _trainer, losses = trained(2, discriminator=judge)
    assert torch.isfinite(torch.stack(losses)).all()


def test_the_adversarial_loss_of_known_logits():
    logits = torch.tensor([0.0, 0.0])
    vanilla = adversarial_loss(logits, is_real=True, mode="vanilla")
    assert vanilla.item() == pytest.approx(math.log(2))
    assert adversarial_loss(logits, is_real=True, mode="lsgan").item() == 1
    assert adversarial_loss(logits, is_real=False, mode="lsgan").item() == 0


def test_hinge_asks_for_a_margin_of_the_discriminator_alone():
    logits = torch.tensor([-2.0, 0.5, 3.0])
    assert adversarial_loss(logits, is_real=True, mode="hinge").item() == pytest.approx(3.5 / 3)
    assert adversarial_loss(logits, is_real=False, mode="hinge").item() == pytest.approx(5.5 / 3)
    assert deceiving_loss(logits, mode="hinge").item() == pytest.approx(-0.5)
    expected = adversarial_loss(logits, is_real=True, mode="vanilla")
    assert deceiving_loss(logits, mode="vanilla") == expected


def test_matched_features_have_no_loss():
    features = [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)]
    assert feature_loss(features, features).item() == 0
    others = [features[0] + 1, features[1] - 2]
    assert feature_loss(features, others).item() == pytest.approx(3)


def test_a_step_changes_the_discriminator_once():
    plain, _losses = trained(1)
    matched, _losses = trained(1, lambda_fm=10.0)
    pairs = zip(plain.discriminator.parameters(), matched.discriminator.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_l1_of_opposite_pictures_is_the_whole_range():
    assert l1_loss(torch.ones(2, 3), -torch.ones(2, 3)).item() == 2


def test_a_step_depends_on_weights_batch_and_position_alone():
    first, first_losses = trained(3)
    torch.rand(7)  # somebody else draws random numbers in between
    again, again_losses = trained(3)
    assert all(map(torch.equal, first_losses, again_losses))
    assert all(map(torch.equal, first.generator.parameters(), again.generator.parameters()))


def test_dropout_differs_from_step_to_step():
    trainer = Trainer(config(lr=1e-12), device=CPU)
    trainer.begin_epoch(0)
    a, b = (trainer.step(*batch(), position=Position(step=step)) for step in (0, 1))
    assert a[3] != b[3]


def test_a_restored_trainer_goes_on_to_the_same_weights():
    whole, _losses = trained(4)
    half, _losses = trained(2)
    resumed = Trainer(config(), device=CPU)
    resumed.load_state(half.state())
    resumed.begin_epoch(0)
    for step in (2, 3):
        resumed.step(*batch(), position=Position(step=step))
    assert all(map(torch.equal, whole.generator.parameters(), resumed.generator.parameters()))
    for name, weight in whole.discriminator.state_dict().items():
        assert torch.equal(weight, resumed.discriminator.state_dict()[name])


@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_every_option_goes_on_to_the_same_weights(options):
    whole, losses = trained(4, **options)
    half, _losses = trained(2, **options)
    resumed = Trainer(config(**options), device=CPU, guidance=GUIDANCE)
    resumed.load_state(copy.deepcopy(half.state()))
    resumed.begin_epoch(0)
    found = [resumed.step(*batch(), position=Position(step=step)) for step in (2, 3)]
    assert all(map(torch.equal, found, losses[2:]))
    for (name, expected), (_name, tensor) in zip(
        tensors_of(whole.state(), name=""), tensors_of(resumed.state(), name=""), strict=True
    ):
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_every_option_changes_what_comes_out(options):
    changed, _losses = trained(3, **options)
    plain, _losses = trained(3)
    pairs = zip(changed.result.parameters(), plain.result.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)


def test_the_papers_step_is_the_one_written_out_here():
    trainer, losses = trained(1)
    reference = Trainer(config(), device=CPU)
    generator, judge = reference.generator.train(), reference.discriminator.train()
    rates = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True}
    optimisers = [torch.optim.Adam(n.parameters(), **rates) for n in (generator, judge)]
    scene, truth = (to_unit(part, Scaling(), device=CPU) for part in batch())
    scene, truth = scene.contiguous(), truth.contiguous()
    torch.manual_seed(_dropout_seed(0, Position()))
    drawn = generator(scene)
    logits = judge(torch.cat([scene, drawn.detach()], 1)), judge(torch.cat([scene, truth], 1))
    fake, real = (
        F.binary_cross_entropy_with_logits(each, torch.full_like(each, target))
        for each, target in zip(logits, (0, 1), strict=True)
    )
    ((real + fake) / 2).backward()
    optimisers[1].step()
    logits = judge(torch.cat([scene, drawn], 1))
    gan = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    l1 = F.l1_loss(drawn, truth)
    (gan + 100 * l1).backward()
    optimisers[0].step()
    assert torch.equal(losses[0], torch.stack([real, fake, gan, l1]).detach())
    assert all(map(torch.equal, trainer.generator.parameters(), generator.parameters()))


def test_l1_alone_has_no_discriminator():
    trainer, losses = trained(30, lambda_gan=0.0, lr=2e-3)
    assert trainer.discriminator is None
    assert trainer.loss_parts == ("generator_l1",)
    assert losses[-1][0] < 0.8 * losses[0][0]
    assert "discriminator" not in trainer.state()


def test_losses_are_named_by_what_is_switched_on():
    paper = ("discriminator_real", "discriminator_fake", "generator_gan", "generator_l1")
    assert loss_parts(config()) == paper
    assert loss_parts(config(lambda_ce=1)) == (*paper, "generator_ce")


def test_cross_entropy_lowers_itself():
    _trainer, losses = trained(30, lambda_gan=0.0, lambda_l1=0.0, lambda_ce=1.0, lr=2e-3)
    assert losses[-1][1] < 0.8 * losses[0][1]


def test_cross_entropy_needs_classes():
    with pytest.raises(OptionError, match="--palette"):
        Trainer(config(lambda_ce=1.0), device=CPU)


def test_the_average_is_what_is_kept():
    trainer, _losses = trained(3, ema=0.9)
    assert trainer.result is not trainer.generator
    pairs = zip(trainer.result.parameters(), trainer.generator.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)
    plain, _losses = trained(3)
    assert all(map(torch.equal, trainer.generator.parameters(), plain.generator.parameters()))


def test_frozen_epochs_average_with_the_statistics_that_they_train_with():
    recipe = config(epochs=1, epochs_decay=1, freeze_norm_epochs=1, ema=0.9)
    trainer = Trainer(recipe, device=CPU)
    trainer.begin_epoch(0)
    trainer.step(*batch(), position=Position())
    trainer.begin_epoch(1)
    trainer.step(*batch(), position=Position(epoch=1))
    for (name, kept), (_name, used) in zip(
        trainer.result.named_buffers(), trainer.generator.named_buffers(), strict=True
    ):
        assert torch.equal(kept, used), name


def test_a_state_of_another_memory_layout_goes_on_to_the_same_weights():
    whole, _losses = trained(4)
    half, _losses = trained(2)
    state = channels_last(half.state())
    resumed = Trainer(config(), device=CPU)
    resumed.load_state(state)
    resumed.begin_epoch(0)
    for step in (2, 3):
        resumed.step(*batch(), position=Position(step=step))
    assert all(map(torch.equal, whole.generator.parameters(), resumed.generator.parameters()))


def channels_last(value):
    """Lay every picture-like tensor of a state out as other devices and versions do."""
    if isinstance(value, dict):
        return {name: channels_last(entry) for name, entry in value.items()}
    if isinstance(value, torch.Tensor) and value.ndim == 4:
        return value.clone(memory_format=torch.channels_last)
    return value


def test_moments_have_the_strides_of_their_weights():
    trainer, _losses = trained(1)
    trainer.load_state(channels_last(trainer.state()))
    optimiser = trainer._optimisers["generator"]
    for parameter, moments in optimiser.state.items():
        assert moments["exp_avg"].stride() == parameter.stride()


def test_frozen_epochs_keep_their_statistics():
    trainer = Trainer(config(epochs=1, epochs_decay=1, freeze_norm_epochs=1), device=CPU)
    trainer.begin_epoch(1)
    before = [b.clone() for name, b in trainer.generator.named_buffers() if "running" in name]
    trainer.step(*batch(), position=Position(epoch=1))
    after = [b for name, b in trainer.generator.named_buffers() if "running" in name]
    assert all(map(torch.equal, before, after))


def test_mixed_precision_trains_and_draws_in_float32():
    trainer, losses = trained(2, amp=True)
    assert torch.isfinite(torch.stack(losses)).all()
    assert all(parameter.dtype == torch.float32 for parameter in trainer.generator.parameters())


@pytest.mark.parametrize(("major", "dtype"), [(7, torch.float16), (8, torch.bfloat16)])
def test_a_gpu_that_only_emulates_bfloat16_trains_in_float16(monkeypatch, major, dtype):
    class Card:
        def __init__(self, *_):
            self.major = major

    monkeypatch.setattr(torch.cuda, "device", lambda _device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Card)
    assert _amp_dtype(torch.device("cuda")) == dtype


@pytest.mark.parametrize("has_bf16", [False, True])
def test_bfloat16_is_slow_where_a_cpu_emulates_it(monkeypatch, has_bf16):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert is_amp_slow(CPU) is not has_bf16
    assert not is_amp_slow(torch.device("cuda"))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_native_values_come_back(dtype):
    scaling = Scaling(dtype=dtype, low=-20, high=200)
    values = torch.arange(-20.0, 201).reshape(1, 1, 13, 17)
    unit = to_unit(values, scaling, device=CPU)
    assert (unit.min(), unit.max()) == pytest.approx((-1, 1))
    torch.testing.assert_close(from_unit(unit, scaling), values, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gan_mode": "wgan"}, "--gan-mode 'wgan'"),
        ({"augment": "twirl"}, "--augment 'twirl'"),
        ({"epochs": 0, "epochs_decay": 0}, "--epochs"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"crop_size": 18}, "--crop-size 18"),
        ({"load_size": 12}, "--load-size 12"),
        ({"freeze_norm_epochs": 200}, "--freeze-norm-epochs 200"),
        ({"seed": -1}, "--seed -1"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"ema": 1.0}, "--ema 1.0"),
        ({"lambda_gan": -1.0}, "--lambda-gan -1"),
        ({"lambda_gan": 0.0, "lambda_l1": 0.0}, "asked nothing"),
        ({"diffaug": "fog"}, "--diffaug 'fog'"),
        ({"lambda_gan": 0.0, "lambda_fm": 1.0}, "has no discriminator"),
        ({"class_weights": "median"}, "--class-weights 'median'"),
        ({"ce_temperature": 0.0}, "--ce-temperature 0"),
    ],
)
def test_impossible_recipes_are_refused(changes, expected):
    with pytest.raises(OptionError, match=expected):
        config(**changes)


def test_the_least_view_is_a_multiple_of_what_the_generator_halves():
    with pytest.raises(OptionError, match=r"a multiple of 256, at least 256\)"):
        TrainingConfig(crop_size=200)
    with pytest.raises(OptionError, match=r"a multiple of 4, at least 16\)"):
        TrainingConfig(generator=GeneratorConfig(arch="resnet_6blocks"), crop_size=18)


def refused(_part, **_options):
    def run(_pixels):
        raise RuntimeError("no compiler was found\nat all")

    return run


def test_what_cannot_be_compiled_is_trained_without(monkeypatch):
    monkeypatch.setattr(torch, "compile", refused)
    trainer, expected = Trainer(config(batch_size=2), device=CPU), trained(2, batch_size=2)[1]
    assert trainer.compile_networks() == "no compiler was found"
    trainer.begin_epoch(0)
    found = [trainer.step(*batch(), position=Position(step=step)) for step in range(2)]
    assert all(map(torch.equal, found, expected))


def test_the_trial_of_a_compiler_leaves_no_trace(monkeypatch):
    sizes = []

    def compiled(part, **_options):
        return lambda pixels: sizes.append(len(pixels)) or part(pixels)

    monkeypatch.setattr(torch, "compile", compiled)
    trainer, expected = Trainer(config(batch_size=2), device=CPU), trained(2, batch_size=2)[1]
    assert trainer.compile_networks() == ""
    trainer.begin_epoch(0)
    found = [trainer.step(*batch(), position=Position(step=step)) for step in range(2)]
    assert all(map(torch.equal, found, expected))
    trainer.step(*batch(count=1), position=Position(step=2))  # a last, smaller batch
    assert sizes == [2] * 12  # four passes in each of three steps, the trial's among them


@pytest.mark.slow
def test_compiled_networks_train_to_the_same_losses():
    trainer, expected = Trainer(config(batch_size=2), device=CPU), trained(3, batch_size=2)[1]
    assert trainer.compile_networks() == ""
    trainer.begin_epoch(0)
    found = [trainer.step(*batch(), position=Position(step=step)) for step in range(3)]
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), atol=1e-3, rtol=1e-3)


@pytest.mark.gpu
def test_a_step_on_a_gpu_waits_for_nothing():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    changes = {"jitter_colour": 0.2, "diffaug": "colour+translation+cutout"}
    trainer = Trainer(config(**changes), device=torch.device("cuda"))
    scene, truth = batch().cuda()
    trainer.begin_epoch(0)
    trainer.step(scene, truth, position=Position())
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = trainer.step(scene, truth, position=Position(step=1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert losses.isfinite().all()
