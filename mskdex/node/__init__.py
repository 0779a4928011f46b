"""The DICOM node: takes radiographs in, predicts them, gives results back, and loses nothing on the way."""
