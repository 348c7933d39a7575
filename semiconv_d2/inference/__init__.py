"""Trained models at work: finding and loading them, and what they make of images."""
