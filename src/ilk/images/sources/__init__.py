"""What a path stands for: folders, archives, patterns, standard input, and what is left out."""
