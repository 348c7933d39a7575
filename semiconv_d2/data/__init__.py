"""Data sets: COCO's format, other people's formats, and datasets with a name.

All of it works without Detectron2, but for the names in its catalogs.
"""

from .datasets.catalog import register, register_prepared_datasets

__all__ = ["register", "register_prepared_datasets"]
