"""A fake cloud for each test."""

from collections.abc import Iterator

import pytest

from tests.launch.cloud import Cloud


@pytest.fixture
def cloud(tmp_path) -> Iterator[Cloud]:
  cloud = Cloud(tmp_path)
  yield cloud
  cloud.close()
