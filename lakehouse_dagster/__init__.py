"""A real-time lakehouse orchestrated by Dagster."""
