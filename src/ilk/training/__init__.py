"""The one training loop, what it stands on, and the small heads and losses that it trains."""
