"""Measures the time of decoders and evaluation."""
