"""What `import mskdex` gives: CTs, radiographs, DRRs, registration and prediction, without a workflow."""
