"""Small networks of the families that wrappers go around, with images that they take."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ilk.architectures.efficientnet_lite import EfficientNetLite0
from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig
from ilk.hub.torchvision_ops import declare_missing_ops


def make_timm(name: str, **settings: object) -> nn.Module:
    """A network of timm with random weights."""
    declare_missing_ops()
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **settings)
    return network


def make_clip() -> nn.Module:
    """Both towers of a CLIP network, of which images pass one."""
    declare_missing_ops()
    from transformers import CLIPConfig, CLIPModel

    side = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    side["num_attention_heads"] = 2
    vision = {**side, "image_size": 32, "patch_size": 8}
    text = {**side, "vocab_size": 64, "max_position_embeddings": 16}

    class ImageSide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = CLIPModel(
                CLIPConfig(vision_config=vision, text_config=text, projection_dim=24)
            )

        def forward(self, x: Tensor) -> Tensor:
            features = self.both.get_image_features(pixel_values=x)
            pooled: Tensor = getattr(features, "pooler_output", features)
            return pooled

    return ImageSide()


VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "tiny ViT": (lambda: TinyViT(TinyViTConfig(width=32), 3), (2, 1, 28, 28)),
    "timm ViT": (lambda: make_timm("vit_tiny_patch16_224", **VIT), (2, 3, 32, 32)),
    "CLIP": (make_clip, (2, 3, 32, 32)),
    "EfficientNet-Lite0": (EfficientNetLite0, (2, 3, 64, 64)),
    "timm EfficientNet": (lambda: make_timm("test_efficientnet"), (2, 3, 64, 64)),
}


def make_example(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network in evaluation mode, always the same, and a batch of images."""
    make, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = make().eval()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):  # so that no activation vanishes
                    module.bias.normal_(0, 0.3)
                    module.weight.uniform_(0.5, 1.5)
        return network.requires_grad_(True), torch.randn(shape)
