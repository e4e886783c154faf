"""``python -m geop2p`` is ``geop2p``."""

from geop2p.cli.main import main

if __name__ == "__main__":
    main()
