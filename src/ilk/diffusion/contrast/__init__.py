"""What the objectives of tuning share: errors of noised images, the anchor, the reference."""
