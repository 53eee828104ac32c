"""The test rings; `make test` runs them."""
