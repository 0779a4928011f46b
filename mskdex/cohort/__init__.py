"""The cohort sheet, its patients and folds, and the quality check."""
