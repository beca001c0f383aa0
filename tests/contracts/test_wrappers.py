"""What every wrapper owes, asked of every file of `ilk.peft.wrappers` on several networks."""

import copy
import re
import sys

import pytest
import torch
from torch import nn

from helpers.tiny_networks import NETWORKS, make_example
from ilk.core.errors import InputError, UnknownName
from ilk.core.registry import find_modules
from ilk.peft import get_state, list_wrappers, load_state, parse_wrapper, read_summaries
from ilk.peft.layers import list_attentions
from ilk.peft.parts import list_parts
from ilk.training.freezing import freeze

KINDS = list_wrappers()
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def fits(kind, name):
    """Whether a wrapper fits a network; what the suite then asks is not skipped silently."""
    if kind.__name__ in ("Prefix", "MAM"):
        return name in ("tiny ViT", "timm ViT", "CLIP")
    if kind.__name__ == "LayerSum":  # blocks of one width
        return name in ("tiny ViT", "timm ViT", "CLIP")
    return True


PAIRS = [(kind, name) for kind in KINDS.values() for name in NETWORKS if fits(kind, name)]
every = pytest.mark.parametrize(
    ("kind", "name"), PAIRS, ids=[f"{k.__name__}-{n.replace(' ', '_')}" for k, n in PAIRS]
)


def copy_state(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def check_equal(one, other):
    assert list(one) == list(other)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def shake(network, size=0.05):
    """Set the wrapper's parameters a little away from their start; return them."""
    generator = torch.Generator().manual_seed(5)
    state = {
        key: value + size * torch.randn(value.shape, generator=generator)
        for key, value in get_state(network).items()
    }
    load_state(network, state)
    return state


@torch.no_grad()
def answer(network, x):
    return network.eval()(x)


def test_every_file_holds_one_wrapper_and_cites_its_paper():
    modules = [kind.__module__ for kind in KINDS.values()]
    assert sorted(modules) == sorted(f"ilk.peft.wrappers.{n}" for n in find_modules_())
    for kind in KINDS.values():
        assert re.search(r"arXiv \d{4}\.\d{4,5}|ECCV", sys.modules[kind.__module__].__doc__)


def find_modules_():
    return find_modules("ilk.peft.wrappers")


def test_summaries_are_read_without_importing_and_are_those_of_the_classes():
    assert read_summaries().keys() == KINDS.keys()
    for name, line in read_summaries().items():
        assert line == KINDS[name].__doc__.split("\n")[0]
        assert len(line) > 20


@every
def test_training_starts_at_the_pretrained_outputs_unless_it_says_otherwise(kind, name):
    network, x = make_example(name)
    expected, wrapper = answer(network, x), kind()
    wrapped = answer(wrapper.apply(network), x)
    assert wrapper.starts_exactly == torch.allclose(wrapped, expected, rtol=0, atol=1e-6)


@every
def test_only_its_own_parameters_train_and_all_get_a_gradient(kind, name):
    network, x = make_example(name)
    pretrained = {id(p) for p in network.parameters()}
    kind().apply(network)
    shake(network)
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert trained.keys() == get_state(network).keys()
    assert not pretrained & {id(p) for p in trained.values()}
    generator = torch.Generator().manual_seed(0)
    y = network.eval()(x)
    (y * torch.randn(y.shape, generator=generator)).sum().backward()
    for key, p in network.named_parameters():
        assert (p.grad is not None and bool(p.grad.any())) == (key in trained), key


@every
def test_its_state_is_its_own_and_loads_into_another_copy(kind, name):
    network, x = make_example(name)
    kind().apply(network)
    state = shake(network)
    other, _ = make_example(name)
    keys = set(other.state_dict())
    kind().apply(other)
    assert not keys & state.keys()
    load_state(other, state)
    check_equal(get_state(other), state)
    assert torch.equal(answer(network, x), answer(other, x))
    if kind().starts_exactly:
        pretrained = answer(make_example(name)[0], x)
        assert not torch.allclose(answer(other, x), pretrained, rtol=0, atol=1e-5)


@every
def test_removed_it_leaves_the_pretrained_network_to_the_bit(kind, name):
    network, x = make_example(name)
    before, expected = copy_state(network), answer(network, x)
    wrapper = kind()
    wrapper.apply(network)
    shake(network)
    assert wrapper.remove(network) is network
    check_equal(network.state_dict(), before)
    assert torch.equal(answer(network, x), expected)
    assert get_state(network) == {}
    assert not list_parts(network)
    wrapper.apply(network)  # and it can be put on again


@every
def test_merged_it_gives_the_same_outputs_from_plain_layers(kind, name):
    network, x = make_example(name)
    keys, wrapper = list(network.state_dict()), kind()
    wrapper.apply(network)
    shake(network)
    expected = answer(network, x)
    if not wrapper.is_mergeable:
        with pytest.raises(InputError, match=f"{kind.__name__} cannot be merged"):
            wrapper.merge(network)
        assert torch.equal(answer(network, x), expected)
        return
    assert wrapper.merge(network) is network
    assert list(network.state_dict()) == keys
    torch.testing.assert_close(answer(network, x), expected, **TOLERANCE)


@every
def test_a_copy_is_a_wrapped_network_of_its_own(kind, name):
    """The trainer averages a copy."""
    network, x = make_example(name)
    wrapper = kind()
    wrapper.apply(network)
    shake(network)
    expected, state = answer(network, x), get_state(network)
    copied = copy.deepcopy(network)
    shaken = shake(copied, 0.5)
    check_equal(get_state(network), state)
    taken = get_state(copied)
    shake(copied, 0.5)
    check_equal(taken, shaken)
    assert torch.equal(answer(network, x), expected)
    assert not torch.equal(answer(copied, x), expected)
    plain = answer(make_example(name)[0], x)
    assert torch.equal(answer(wrapper.remove(copied), x), plain)
    assert torch.equal(answer(network, x), expected)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_network_without_fitting_layers_is_refused_and_left_as_it_was(kind):
    network = nn.Sequential(nn.Flatten(), nn.ReLU())
    with pytest.raises(InputError, match=rf"{kind.__name__} needs .*Sequential has none.*choose"):
        kind().apply(network)
    conv = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU())
    with pytest.raises(InputError, match=f"{kind.__name__} needs"):
        kind().apply(conv)
    assert all(p.requires_grad for p in conv.parameters())


@every
def test_training_mode_moves_nothing_of_the_pretrained_network(kind, name):
    """Statistics of batch normalization are not a wrapper's state, so they must not move."""
    network, x = make_example(name)
    before, expected = copy_state(network), answer(network, x)
    wrapper = kind()
    wrapper.apply(network).train()
    if wrapper.starts_exactly:  # nothing is dropped either
        torch.testing.assert_close(network(x).detach(), expected, rtol=0, atol=1e-6)
    network(x + 1)
    freeze(network)  # as training does again
    wrapper.remove(network)
    check_equal(network.state_dict(), before)
    assert all(p.requires_grad for p in network.parameters())
    network.train()
    assert all(m.training for m in network.modules())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_second_wrapper_is_refused(kind):
    network, _ = make_example("tiny ViT")
    kind().apply(network)
    with pytest.raises(InputError, match="has a wrapper already"):
        parse_wrapper("LoRA").apply(network)


def test_states_of_other_wrappers_are_refused():
    network, _ = make_example("tiny ViT")
    parse_wrapper("LoRA(rank=2)").apply(network)
    other, _ = make_example("tiny ViT")
    parse_wrapper("LoRA(rank=3)").apply(other)
    before = get_state(network)
    with pytest.raises(InputError, match=r"do not fit this wrapper and network \(32 differ"):
        load_state(network, get_state(other))
    check_equal(get_state(network), before)


def test_wrappers_are_parsed_and_bad_ones_refused_in_one_sentence():
    assert parse_wrapper("LoRA(rank=4, layers='attention')").rank == 4
    with pytest.raises(UnknownName, match="no wrapper is called 'Lora'; the nearest is LoRA"):
        parse_wrapper("Lora")
    for text, message in {
        "LoRA(rank=0)": "rank is 0; it must be above 0",
        "LoRA(layers='conv')": "layers is 'conv'; it is one of all, attention, mlp",
        "LoRA(rank='x')": "rank",
        "SVFit(bases='left')": "bases is 'left'",
        "IA3(positions='x')": "positions is 'x'",
        "SHERL(late=0)": "late is 0",
        "Prefix(length=0)": "length is 0",
        "LoRA(rank=8": "cannot read wrapper",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)):
            parse_wrapper(text)


def test_text_towers_heads_and_stems_are_left_alone():
    network, _ = make_example("CLIP")
    parse_wrapper("LoRA").apply(network)
    assert not any("text_model" in key for key in get_state(network))
    network, _ = make_example("EfficientNet-Lite0")
    parse_wrapper("LoRA").apply(network)
    assert not any(key.startswith(("fc", "conv_stem")) for key in get_state(network))
    assert list_attentions(network) == []


def test_layers_that_are_not_linear_in_their_weight_are_left_alone():
    class Standardized(nn.Conv2d):
        def forward(self, x):
            weight = self.weight / self.weight.std()
            return self._conv_forward(x, weight, self.bias)

    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * self._conv_forward(x, self.weight, self.bias)

    network = nn.Sequential(nn.Conv2d(1, 2, 3), Standardized(2, 2, 3), Doubled(2, 2, 3))
    weights = [m.weight for m in network]
    parse_wrapper("LoRA(rank=1)").apply(network)
    assert [path for path, _ in list_parts(network)] == ["2.wrapper"]
    assert all(m.weight is w for m, w in zip(network, weights, strict=True))
