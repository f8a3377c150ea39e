"""Desired-state streams: what should run is compared with what runs, and the difference is acted upon."""
