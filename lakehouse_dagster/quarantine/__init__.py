"""Records that could not be carried: read, shown, replayed at the source's word, or dropped with a reason."""
