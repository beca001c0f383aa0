"""`python -m ilk` is `ilk`."""

from ilk.cli import main

if __name__ == "__main__":
    main()
