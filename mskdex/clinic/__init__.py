"""Results for a clinic's systems: DICOM objects of a prediction, and trained models to hand on."""
