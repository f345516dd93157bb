"""Training for `accelerate launch`: the same as `vidflow train`, see `--help`.

accelerate launch experiments/train.py --cfg tsm.toml --set data.root=data/kinetics400-shards
accelerate launch --multi_gpu --num_processes 2 experiments/train.py --cfg tsm-demo.toml   # on CPUs too
"""

import sys

from vidflow.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
