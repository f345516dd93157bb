"""Video files: probing by decoding the whole stream once, and exact access to single frames, with PyAV (FFmpeg).

What all of it agrees on: frames are numbered in presentation order over the frames that really decode, a frame is
RGB as FFmpeg converts it (see ``vidflow.media.pixels``), and damage is either an error or counted, never hidden.
"""
