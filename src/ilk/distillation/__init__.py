"""What `ilk distill` does: a saved classifier teaches a small network, from its answers."""
