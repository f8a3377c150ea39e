"""Sample source systems that fill a source database with real data."""
