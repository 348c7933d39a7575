"""What a model found, in the formats of other programs."""
