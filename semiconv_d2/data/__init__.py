"""Datasets: COCO's format, other people's formats, and datasets with a name.

Only the names in Detectron2's catalogs need Detectron2.
"""

from .datasets.catalog import register, register_prepared_datasets

__all__ = ["register", "register_prepared_datasets"]
