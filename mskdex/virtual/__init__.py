"""Virtual patients: anatomy, population, tissue, posture and radiograph physics."""
