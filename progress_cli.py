"""Shows how runs go; arrives with a later version."""

import sys


def main() -> None:
    """Say that the command is not there yet."""
    print("This command arrives with a later version.", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
