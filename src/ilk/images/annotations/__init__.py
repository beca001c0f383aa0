"""What is known about an image besides its pixels: labels, groups and splits."""
