"""Where data comes from: column by column, run by run (OpenLineage events), and one row's way through it."""
