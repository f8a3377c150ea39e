"""Proof: everything the source has is in every place it was copied to, row for row and column for column."""
