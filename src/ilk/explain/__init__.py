"""Heat maps that show why a classifier answers as it does, each with a verdict on whether it holds.

`explain_image` explains one image. `Subject` is what an explainer sees: one prepared image and the
answer of the classifier as a number. `explainers/` has one file per method, found by file.
`fidelity` measures a map by taking pixels away, `verdict` says whether it can be trusted, `choice`
picks the method, `neighbours` finds the nearest training images.
"""
