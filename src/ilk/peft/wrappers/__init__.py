"""One wrapper per file: a frozen dataclass of `Wrapper` that is found by its file."""
