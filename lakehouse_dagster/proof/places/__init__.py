"""The places a row lives in, each able to hand out all rows of a table or view as canonical texts."""
