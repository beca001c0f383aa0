"""A linear embedding of the pixels of small images."""

from ilk.architectures.metric_head import MetricHead
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned_folder import TunedEmbedding, take_weights, write_tuned


def make(folder, monkeypatch):
    import torch

    base = resolve_encoder("pixels/8x8x3")
    torch.manual_seed(0)
    kind, settings, arrays = take_weights(MetricHead(base.space.dim, 5, hidden=4))
    write_tuned(folder / "tuned", TunedEmbedding(base.describe(), kind, settings, arrays))
    return f"tuned:{folder / 'tuned'}"
