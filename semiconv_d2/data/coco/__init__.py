"""Annotations in COCO's format: read, checked, mended, described, split and written."""
