from bloomweaver.testing.contracts import healing as contract


class TestSqlite(contract.HealingContract):
    """In memory and in a file; `database` is in conftest.py."""
