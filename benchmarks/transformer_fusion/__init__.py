"""Two vision transformers fused by optimal transport."""
