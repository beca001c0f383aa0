"""`ilk serve`: a model behind HTTP and a web page, in one process and without a network.

Every request passes `security` (host, token, CSRF) and `metrics`; its images are decoded by
processes with bounded memory and time (`decoding`), and one thread owns the model (`batching`).
"""
