"""What a model found, in the formats of other programs.

A module for each format. Formats of one file for each image write it by
`write_NAME(detections, path, classes)`; `formats.py` lists them.
"""
