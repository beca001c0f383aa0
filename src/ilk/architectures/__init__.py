"""Networks as plain `nn.Module`s, one per file."""
