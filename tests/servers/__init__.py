"""Real servers, started by the tests on private ports. One that cannot be started fails the tests."""
