"""`python -m ilk` is `ilk`, and this is where both start."""

import signal


def main() -> None:
    """Run `ilk`. Until its own handlers are there, Ctrl-C ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ilk.cli import main as run_command

    run_command()


if __name__ == "__main__":
    main()
