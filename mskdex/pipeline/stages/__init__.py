"""One module per stage of the pipeline: reads artifacts, calls the core, writes artifacts."""
