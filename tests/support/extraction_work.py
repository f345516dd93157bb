"""Work for extraction jobs: functions that worker processes can import."""

import errno
import os
import time
from pathlib import Path

from vidflow.errors import DecodeError
from vidflow.shards.extraction.jobs import Job, SkipJob


def copy_upper(job: Job, parts: tuple[Path, ...]) -> dict[str, int]:
    """A text file in capitals; one that says "broken" or "crash" fails or kills the worker, and so on."""
    text = Path(job.source).read_text()
    if text == "broken":
        parts[0].write_text("half")
        raise DecodeError(f"{job.source}: damaged at packet 3")
    if text == "nothing":
        raise SkipJob("there is nothing in it")
    if text == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(parts[0]))
    if text == "crash":
        os.abort()
    parts[0].write_text(text.upper())
    return {"length": len(text)}


def slow_folder(job: Job, parts: tuple[Path, ...]) -> None:
    """A folder of five files and one file, written slowly."""
    text = Path(job.source).read_text()
    parts[0].mkdir()
    for i in range(5):
        time.sleep(0.01)
        (parts[0] / f"{i}.txt").write_text(f"{text} {i}")
    parts[1].write_text(text)


def touch_source(job: Job, parts: tuple[Path, ...]) -> None:
    """Work that sees its source change."""
    parts[0].write_text("done")
    Path(job.source).write_text("something longer than before")


def main() -> None:
    """Run the slow job over a folder: ``python extraction_work.py SRC OUT``."""
    import sys

    from vidflow.shards.extraction.jobs import run_jobs

    src, out = map(Path, sys.argv[1:])
    jobs = [
        Job(path.name, str(path), (f"{path.stem}/frames", f"{path.stem}/all.txt")) for path in sorted(src.iterdir())
    ]
    run_jobs(jobs, out, slow_folder_of_module(), command="slow", options={}, workers=2)


def slow_folder_of_module():  # type: ignore[no-untyped-def]
    """The function under a name that worker processes can import, also where this file is the main program."""
    import extraction_work

    return extraction_work.slow_folder


if __name__ == "__main__":
    main()
