"""tests/contract/test_killed.py on the accounts that `ELT_CLOUD` names. Never part of CI."""

# ruff: noqa: F403 - the tests themselves are what is wanted
from tests.contract.test_killed import *
