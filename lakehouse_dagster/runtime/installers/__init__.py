"""One installer per kind of part; each fills a folder that nobody else looks at until it is complete."""
