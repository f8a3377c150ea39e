"""Drills: a fault is injected on purpose while the source is written to, and what the platform makes of it is
measured.
"""
