"""Datasets with a name: what reads or draws them, and their names in Detectron2's catalogs."""
