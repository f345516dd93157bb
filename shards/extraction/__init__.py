"""From files to files: frames, flow, sound and mel features of videos, or other videos; one job per source."""
