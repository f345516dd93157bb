"""The command line: one module per subcommand, listed in main.py. Modules import heavy packages inside functions."""
