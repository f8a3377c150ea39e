"""One thin client per engine. No Dagster types; addresses come in as endpoint models."""
