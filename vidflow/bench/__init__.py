"""Where a loader's time goes: each stage timed alone, the whole loader, and peers in the same run."""
