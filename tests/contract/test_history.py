from bloomweaver.testing.contracts import history as contract


class TestSqlite(contract.HistoryContract):
    """In memory and in a file; `database` is in conftest.py."""
