"""A command line that is killed at a chosen moment: ``[sys.executable, "-c", DYING, "7", "shard", ...]``."""

import os

NUM_KILLS = int(os.environ.get("VIDFLOW_KILLS", "5"))
"""Kills at random moments in a test of packing; ``VIDFLOW_KILLS=20 make test`` looks longer."""

DYING = """
import os, signal, sys
left = int(sys.argv.pop(1))
def counted(step):
    def run(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **options)
    return run
os.fsync, os.replace, os.link = counted(os.fsync), counted(os.replace), counted(os.link)
from vidflow.cli.main import main
main()
"""
# It dies by SIGKILL just before its n-th durable step: an fsync, a rename or a link.
