"""From masks of regions to masks in the image."""
