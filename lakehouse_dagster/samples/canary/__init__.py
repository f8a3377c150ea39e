"""The canary: a source table with every type MySQL has, and a row for every edge of each."""
