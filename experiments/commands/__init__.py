"""The commands of tools/ that are not part of the package."""
