"""What rows without a label may teach, and what guards against their teaching wrongly."""
