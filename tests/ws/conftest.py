"""What pytest is told before it imports the tests of this folder."""

import pytest

# They are no test modules, and their assertions shall say what was found all the same.
pytest.register_assert_rewrite("tests.ws.broker_nodes", "tests.ws.conformance")
