"""Options that the command line needs before anything is loaded."""

SHIPPED = {"binary_worms": ("bbbc010_small_semiconv", "checkpoints/bbbc010_small_one_stage.pth")}
"""Trained models that the repository has, by name: config and checkpoint."""

SHOWS = ("masks", "embedding", "seeds", "kernels")
"""Kinds of pictures: the instances that a model finds, and how it found them."""

SCORE_THRESHOLD = 0.5
"""Instances with a lower score are left out."""

AUTO = "auto"
"""As the size of a tile: the longer side of the training images."""
