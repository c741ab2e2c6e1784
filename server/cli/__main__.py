"""`python -m server.cli` is `pr2`."""

from server.cli import main

if __name__ == "__main__":
    main()
