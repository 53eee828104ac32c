from bloomweaver.testing.contracts import ledger as contract


class TestSqlite(contract.LedgerContract):
    """In memory and in a file; `database` is in conftest.py."""
