"""`make bench`: the hot endpoints against a raw floor on the same server, database and data. Starts at `__main__`."""
