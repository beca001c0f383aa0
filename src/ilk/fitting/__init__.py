"""Fit a classifier, as `ilk fit` does.

`ilk.fitting.fit` uses the modules in this order: `config`, `candidates`, `encoding`, `split`,
`model_selection` (with `cross_validation`, `leakage`, `leaderboard_builder`, `repetition`,
`combination` and `selection_statistics`), `finalize` (with `ensemble_metadata`), `report_data`
(with `explanations`) and `side_files`.
`label_audit` is what `ilk audit` does with cross-validated predictions.
"""
