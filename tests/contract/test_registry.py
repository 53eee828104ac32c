from bloomweaver.testing.contracts import registry as contract


class TestSqlite(contract.RegistryContract):
    """In memory and in a file; `database` is in conftest.py."""
