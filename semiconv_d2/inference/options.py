"""What a command line has to know before anything is loaded."""

SHOWS = ("masks", "embedding", "seeds", "kernels")
"""Pictures of what a model finds, and of how it came to that."""

SCORE_THRESHOLD = 0.5
"""Instances below it are left out."""
