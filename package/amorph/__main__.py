"""``amorph``, or ``python -m amorph``: the command line."""

import sys

from amorph.campaigns.spread.launched import hold_interrupts

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C while it is loaded ends it as it does later."""
    hold_interrupts()
    try:
        from amorph.campaigns.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
