"""``python -m vidflow`` is the command line."""

from vidflow.cli.main import main

main()
