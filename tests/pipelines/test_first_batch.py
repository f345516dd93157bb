"""The first batch comes soon."""

import json
import subprocess
import sys

import first_batch


def test_the_first_batch_takes_less_than_two_seconds_of_work_and_no_pandas(packed_root):
    command = [sys.executable, first_batch.__file__, str(packed_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seconds"] < 2.0
    assert not found["pandas"]
