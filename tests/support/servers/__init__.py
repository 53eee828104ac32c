"""Real servers for the tests: one module per server, started on loopback for the run and stopped with it.

A server's module has

- `NAME`, what people call it;
- `prepare() -> str`: find, fetch or build what it needs (slow; `make backends` calls it), and say in a line what it is;
- `running(...)`: a context manager that starts it on a free port and gives a `processes.Server`. Quick: it downloads
  and builds nothing.

Both raise `processes.Absent` with a reason where it cannot be had here; a fixture turns that into `not run: REASON`.
A new module gets a line in `catalog.py` and a fixture in `fixtures.py`.
"""
