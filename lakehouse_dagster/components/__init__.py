"""Dagster components and resources: where the contract becomes definitions."""
