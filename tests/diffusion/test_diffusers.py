"""Checkpoints of the diffusers library: what they denoise is what the library itself says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from helpers import tiny_diffusers as tiny
from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import expand_like
from ilk.diffusion.diffusers import open_checkpoint
from ilk.diffusion.diffusers.families import identify
from ilk.diffusion.diffusers.schedules import read_parameterization

CLASSES = ("cat", "dog", "owl")
STEPS = torch.tensor([3, 40, 250, 500, 900, 998])
EPSILON = {"beta_schedule": "linear"}
VELOCITY = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
TERMINAL = {**VELOCITY, "beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True}
SAMPLE = {"prediction_type": "sample"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def dit(home):
    return tiny.dit(home / "dit", {0: "tench, Tinca", 1: "goldfish", 2: "shark, Tinca"})


@pytest.fixture(scope="module")
def stable(home):
    return tiny.stable(home / "stable")


def sides(shape, n=6):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, *shape, generator=generator).clamp(-1, 1).double()
    return x, torch.randn(n, *shape, generator=generator).double()


def squares(miss):
    return miss.double().square().flatten(1).mean(1)


def scheduler(folder, name="DDPMScheduler"):
    return getattr(tiny.library(), name).from_pretrained(folder, subfolder="scheduler")


def ours(network, sigma, classes):
    """The squared errors of denoising, `[b]`."""
    x, noise = sides(network.shape)
    noisy = x + expand_like(sigma, x) * noise
    return squares(network.denoise(noisy, sigma, network.condition(classes)) - x)


def native(network, folder, say):
    """The loss of training at `STEPS`, and sigma there, by the library's own scheduler."""
    made = scheduler(folder)
    made.alphas_cumprod = made.alphas_cumprod.double()
    x, noise = sides(network.shape)
    z = made.add_noise(x, noise, STEPS)
    kind = made.config.prediction_type
    target = {"epsilon": noise, "v_prediction": made.get_velocity(x, noise, STEPS), "sample": x}
    abar = made.alphas_cumprod[STEPS]
    sigma = ((1 - abar) / abar).sqrt()
    scale = {"epsilon": 1 / sigma**2, "v_prediction": 1 + 1 / sigma**2, "sample": sigma**0}[kind]
    return squares(say(z)[:, : network.shape[0]] - target[kind]), sigma, scale


@pytest.mark.parametrize("told", [EPSILON, VELOCITY, TERMINAL, SAMPLE])
@pytest.mark.parametrize("kinds", [None, 4])
def test_a_unet_denoises_as_well_as_its_native_loss_says(tmp_path, told, kinds):
    folder = tiny.unet(tmp_path / "unet", kinds, schedule=told)
    network = open_checkpoint(folder).network
    model = network.network.model.double()
    classes = torch.arange(6) % 4 if kinds else torch.full((6,), -1)
    labels = classes if kinds else None
    loss, sigma, scale = native(
        network, folder, lambda z: model(z, STEPS, class_labels=labels).sample
    )
    assert torch.allclose(ours(network, sigma, classes) * scale, loss, rtol=1e-5, atol=0)
    assert loss.min() > 0.1


def test_a_dit_denoises_as_well_as_its_native_loss_says(dit):
    network = open_checkpoint(dit).network
    model = network.network.model.double()
    classes = torch.tensor([0, 1, 2, -1, 1, -1])
    null = torch.where(classes < 0, 3, classes)
    loss, sigma, scale = native(
        network, dit, lambda z: model(z, timestep=STEPS, class_labels=null).sample
    )
    assert model.config.out_channels == 2 * network.shape[0]  # the rest is a learned variance
    assert torch.allclose(ours(network, sigma, classes) * scale, loss, rtol=1e-5, atol=0)


def told(folder, kind, texts, without=(), **options):
    """What the library's own pipeline tells its network, in half precision."""
    from ilk.diffusion.diffusers.parts import silence_libraries

    gone = dict.fromkeys(without)
    with silence_libraries():
        pipe = getattr(tiny.library(), kind).from_pretrained(folder, **gone)
    found = pipe.encode_prompt(texts, device="cpu", do_classifier_free_guidance=False, **options)
    return pipe, [f.half().double() for f in found if f is not None]


@pytest.mark.parametrize("schedule", [{}, {"prediction_type": "v_prediction"}])
def test_stable_diffusion_denoises_as_well_as_its_native_loss_says(tmp_path, schedule):
    folder = tiny.stable(tmp_path / "stable", schedule)
    network = open_checkpoint(folder, CLASSES).network
    classes = torch.tensor([0, 1, 2, -1, 1, -1])
    texts = [f"a photo of a {CLASSES[i]}." if i >= 0 else "" for i in classes]
    pipe, states = told(folder, "StableDiffusionPipeline", texts, num_images_per_prompt=1)
    network.network.model.double()
    model = pipe.unet.double()
    loss, sigma, scale = native(
        network, folder, lambda z: model(z, STEPS, encoder_hidden_states=states[0]).sample
    )
    assert torch.allclose(ours(network, sigma, classes) * scale, loss, rtol=1e-5, atol=0)


@pytest.mark.parametrize("t5", [False, True])
def test_stable_diffusion_3_denoises_as_well_as_its_native_loss_says(tmp_path, t5):
    folder = tiny.stable3(tmp_path / "stable3", t5)
    network = open_checkpoint(folder, CLASSES).network
    classes = torch.tensor([0, 1, 2, -1, 1, -1])
    texts = [f"a photo of a {CLASSES[i]}." if i >= 0 else "" for i in classes]
    without = () if t5 else ("text_encoder_3", "tokenizer_3")
    pipe, states = told(
        folder, "StableDiffusion3Pipeline", texts, without, prompt_2=None, prompt_3=None
    )
    assert states[0].shape == (6, 77 + 256, 24)
    assert bool(states[0][:, 77:].any()) == t5
    network.network.model.double()
    model, x, noise = pipe.transformer.double(), *sides(network.shape)
    time = torch.tensor([0.01, 0.2, 0.4, 0.6, 0.9, 0.99], dtype=torch.float64)
    z = (1 - expand_like(time, x)) * x + expand_like(time, x) * noise
    out = model(
        z, encoder_hidden_states=states[0], pooled_projections=states[1], timestep=1000 * time
    ).sample
    loss, sigma = squares(out - (noise - x)), time / (1 - time)
    assert torch.allclose(ours(network, sigma, classes) / time**2, loss, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("kind", "betas"),
    [
        ("linear", lambda n: torch.linspace(1e-4, 0.02, n, dtype=torch.float64)),
        ("scaled_linear", lambda n: torch.linspace(1e-2, 0.02**0.5, n, dtype=torch.float64) ** 2),
    ],
)
@pytest.mark.parametrize("zero", [False, True])
def test_noise_levels_follow_from_the_betas(tmp_path, kind, betas, zero):
    schedule = {"beta_schedule": kind, "rescale_betas_zero_snr": zero}
    folder = tiny.unet(tmp_path / "unet", schedule=schedule)
    root = (1 - betas(1000)).cumprod(0).sqrt()
    if zero:  # shifted to end at 0, scaled to begin where it began
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    abar = (root**2)[:-1] if zero else root**2
    sigmas = read_parameterization(identify(folder)).schedule.sigmas
    assert len(sigmas) == len(abar)
    assert torch.allclose(sigmas, ((1 - abar) / abar).sqrt(), rtol=1e-3)
    assert torch.allclose(sigmas[50:], ((1 - abar) / abar).sqrt()[50:], rtol=1e-4)


def test_cosine_levels_and_flow_ends(tmp_path, home):
    folder = tiny.unet(tmp_path / "unet", schedule={"beta_schedule": "squaredcos_cap_v2"})
    at = torch.tensor([99, 499, 899])
    share = ((at + 1) / 1000 + 0.008) / 1.008 * math.pi / 2
    wave = share.cos() ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    sigmas = read_parameterization(identify(folder)).schedule.sigmas[at]
    assert torch.allclose(sigmas.float(), ((1 - wave) / wave).sqrt(), rtol=1e-3)
    low, high = open_checkpoint(tiny.stable3(tmp_path / "s3"), CLASSES).network.sigmas
    assert (low, high) == pytest.approx((1 / 999, 999))


def test_a_pure_noise_step_of_other_schedulers_is_left_out_too(tmp_path):
    folder = tiny.unet(tmp_path / "unet", schedule=TERMINAL)
    scheduler(folder, "EulerDiscreteScheduler").save_pretrained(folder / "scheduler")
    made = read_parameterization(identify(folder))  # that scheduler has 2^-24 in place of 0
    assert len(made.schedule.sigmas) == 999
    assert made.sigmas[1] < 4000


def test_one_embedding_more_than_names_is_the_dropped_class(tmp_path):
    folder = tiny.unet(tmp_path / "unet", 4)
    network = open_checkpoint(folder, CLASSES).network
    assert network.classes == CLASSES
    assert network.condition(torch.tensor([2, 0, -1])).tolist() == [2, 0, 3]
    whole = open_checkpoint(folder).network
    assert whole.classes == ("0", "1", "2", "3")
    x, _ = sides(whole.shape, 1)
    with pytest.raises(InputError, match="without a null class"):
        whole.denoise(x.float(), torch.ones(1), whole.condition(torch.tensor([-1])))
    for names in (CLASSES[:2], (*CLASSES, "a", "b")):
        with pytest.raises(InputError, match="4 embeddings and does not name them; give 4 names"):
            open_checkpoint(folder, names)


def test_classes_are_found_by_the_checkpoints_own_names(dit):
    assert open_checkpoint(dit).network.classes == ("tench, Tinca", "goldfish", "shark, Tinca")
    some = open_checkpoint(dit, ["shark", "goldfish"]).network
    assert some.condition(torch.tensor([0, 1, -1])).tolist() == [2, 1, 3]
    with pytest.raises(InputError, match=r"none of which is called 'gold fish'; .* 'goldfish'"):
        open_checkpoint(dit, ["gold fish"])
    with pytest.raises(InputError, match="'Tinca' could be 'tench, Tinca' or 'shark, Tinca'"):
        open_checkpoint(dit, ["Tinca"])
    with pytest.raises(InputError, match="class 'shark' is given twice"):
        open_checkpoint(dit, ["shark", "shark"])


def test_a_dit_without_names_counts_its_classes(tmp_path):
    folder = tiny.dit(tmp_path / "dit", sigma=False)
    assert open_checkpoint(folder).network.classes == ("0", "1", "2")
    with pytest.raises(InputError, match=r"2 classes are given, but .* trained on 3"):
        open_checkpoint(folder, ["a", "b"])


def test_learned_steps_are_told_whole(tmp_path):
    folder = tiny.unet(tmp_path / "u", time_embedding_type="learned", num_train_timesteps=1000)
    network = open_checkpoint(folder).network
    x, _ = sides(network.shape, 1)
    sigma = network.parameterization.schedule.sigmas[[500]] * 1.0001
    made = network.denoise(x.float(), sigma.float(), network.condition(torch.tensor([-1])))
    scaled = x.float() * (1 + sigma.float() ** 2).rsqrt()
    out = network.network.model(scaled, torch.tensor([500])).sample
    assert torch.allclose(made, x.float() - sigma.float() * out, atol=1e-5)


def test_a_lone_unet_beside_its_scheduler_opens_as_well(tmp_path):
    whole = tiny.unet(tmp_path / "unet")
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in (*(whole / "unet").iterdir(), *(whole / "scheduler").iterdir()):
        (alone / path.name).write_bytes(path.read_bytes())
    x, noise = (a[:2].float() for a in sides((1, 8, 8)))
    made = [
        n.denoise(x + noise, torch.ones(2), n.condition(torch.tensor([-1, -1])))
        for n in (open_checkpoint(whole).network, open_checkpoint(alone).network)
    ]
    assert torch.equal(*made)


def test_shards_and_half_precision_variants_open_as_well(tmp_path, stable):
    import shutil

    before = open_checkpoint(stable, CLASSES)
    sharded = shutil.copytree(stable, tmp_path / "sharded")
    (sharded / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    before.network.network.model.save_pretrained(sharded / "unet", max_shard_size="20KB")
    assert len(list((sharded / "unet").glob("*-of-*.safetensors"))) > 2
    after = open_checkpoint(sharded, CLASSES)
    sigma, classes = torch.logspace(-1, 1, 6), torch.tensor([0, 1, 2, -1, 1, -1])
    want = ours(before.network, sigma, classes)
    assert torch.equal(ours(after.network, sigma, classes), want)
    assert after.digest != before.digest
    (sharded / "unet" / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink(True)
    gone = sorted((sharded / "unet").glob("*-of-*.safetensors"))[0]
    gone.unlink()
    with pytest.raises(Exception, match=f"lacks unet/{gone.name}"):
        open_checkpoint(sharded, CLASSES)
    for path in (sharded / "unet").glob("*model*"):
        path.unlink()
    half = before.network.network.model.half()
    half.save_pretrained(sharded / "unet", variant="fp16")
    near = ours(open_checkpoint(sharded, CLASSES).network, sigma, classes)
    assert torch.allclose(near, want, rtol=1e-2)


def test_bfloat16_is_near_and_gives_float32(stable):
    sigma, classes = torch.logspace(-1, 1, 6), torch.tensor([0, 1, 2, -1, 1, -1])
    exact, low = (
        open_checkpoint(stable, CLASSES, precision=p).network for p in ("float32", "bfloat16")
    )
    x, noise = (a.float() for a in sides(low.shape))
    made = low.denoise(x + expand_like(sigma, x) * noise, sigma, low.condition(classes))
    assert made.dtype == torch.float32
    assert low.network.model.dtype == torch.bfloat16
    assert torch.allclose(ours(low, sigma, classes), ours(exact, sigma, classes), rtol=0.05)


def test_the_digest_is_of_the_checkpoint_and_not_of_its_place(tmp_path):
    one, same = (tiny.unet(tmp_path / n / "unet") for n in "ab")
    other = tiny.unet(tmp_path / "c", schedule=VELOCITY)
    digests = [open_checkpoint(f).digest for f in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_network_refuses_images_of_another_size(dit, stable):
    for network in (open_checkpoint(dit).network, open_checkpoint(stable, CLASSES).network):
        with pytest.raises(InputError, match="images of 4 x 6 x 6 cannot be processed"):
            network.denoise(
                torch.zeros(1, 4, 6, 6), torch.ones(1), network.condition(torch.zeros(1).long())
            )
    assert replace(network, shape=(4, 4, 4)).shape == network.shape
