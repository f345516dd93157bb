"""The training loop, evaluation of runs, and what a run writes down."""
