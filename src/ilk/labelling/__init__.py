"""Label the images of a folder with the help of a model.

A `LabellingSession` (`session.py`) knows images by the digest of their content, keeps every answer
in an append-only log (`log.py`), asks for images in the order that a file of `orders/` chooses,
asks a random audit slice among them (`audit.py`), and refits a model in the background
(`learner.py`).
"""
