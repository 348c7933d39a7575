"""Other people's formats of annotations, read."""
