"""tests/contract/test_destination.py on the accounts that `ELT_CLOUD` names. Never part of CI."""

# ruff: noqa: F403 - the tests themselves are what is wanted
from tests.contract.test_destination import *

del test_a_table_is_not_merged_into_itself  # noqa: F821 - PostgreSQL alone can be both
