"""``python -m openapi`` is the command ``openapi``."""

from openapi.cli import main

if __name__ == "__main__":
    main()
