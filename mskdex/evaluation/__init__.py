"""Agreement and image metrics, statistics, tables and figures."""
