"""Data sets: readers, generators, and their names in Detectron2's catalogs.

Importing this package registers the names of `registration.PREPARED_DATASETS` where Detectron2 is
installed. All else works without it.
"""

from importlib.util import find_spec

from semiconv_d2.data.own import register
from semiconv_d2.data.registration import register_prepared_datasets

__all__ = ["register", "register_prepared_datasets"]

if find_spec("detectron2") is not None:
    register_prepared_datasets()
