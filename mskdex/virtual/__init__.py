"""Virtual patients: people, anatomy, tissue and scanner."""
