"""Pretrained files: the hub client, configurations, safetensors headers and preprocessing."""
