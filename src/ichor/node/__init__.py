"""The node: studies come in by DICOM, results go back, and the reading list is reordered (extra ``node``)."""
