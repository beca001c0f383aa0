"""Images with several labels: folds, one-against-rest models, calibration, thresholds, metrics."""
