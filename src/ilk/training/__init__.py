"""The trainer and what is passed to it: objectives, optimizers, schedules, sources, samplers."""
