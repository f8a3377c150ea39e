"""Dagster assets per layer: sources, topics, lake tables, views, publication and marts."""
