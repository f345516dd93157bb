"""Testing for `accelerate launch`: the same as `vidflow test`, see `--help`.

accelerate launch experiments/test.py --run runs/tsm
"""

import sys

from vidflow.cli.main import main

if __name__ == "__main__":
    main(["test", *sys.argv[1:]])
