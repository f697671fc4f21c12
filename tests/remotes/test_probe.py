import pytest
from tests.fakes.airbyte import FakeAirbyte
from tests.remotes.driving import asked, settings_of
from airflow_elt_provider.remotes.flow import Request
pytestmark = pytest.mark.lowest
def test_x(driver):
    with FakeAirbyte() as s:
        assert driver(asked(Request("GET", "/api/public/v1/health")), settings_of(s.url)).status == 200
