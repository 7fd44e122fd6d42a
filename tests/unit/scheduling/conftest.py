"""Configurations to plan for."""

from pathlib import Path

import pytest

from tests.unit.config.conftest import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
