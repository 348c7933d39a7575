"""The error of a segmentation that is not valid."""

from __future__ import annotations

from ....errors import DatasetError


class SegmentationError(DatasetError):
    """A polygon or run-length encoding is not a mask; `kind` is the name of the defect."""

    def __init__(self, kind: str, what: str):
        super().__init__(what)
        self.kind = kind
