"""Calibration, prediction sets, out-of-distribution detection, label errors and class priors."""
