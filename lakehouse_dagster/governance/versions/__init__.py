"""Versions people can rely on: tags, branches, differences, rollback, and what may be forgotten."""
