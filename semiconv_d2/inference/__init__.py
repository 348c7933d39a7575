"""Inference: find and load trained models, run them on images and show the results."""
