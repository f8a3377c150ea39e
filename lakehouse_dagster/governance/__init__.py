"""Publication: which versions of the lake's tables readers see, and who asked for it."""
