"""``python -m moorage``: the command line."""

from moorage.cli.main import main

if __name__ == "__main__":
    main()
