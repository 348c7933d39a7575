"""Images that are larger than what a model takes at once: cut into tiles, and joined again."""
