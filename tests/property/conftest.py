"""The same examples in every run: a failure seen once is seen again.

`HYPOTHESIS_PROFILE=long` looks for new ones instead, by hand and for a long time.
"""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from backstay_host import places
from backstay_host.serve import Session

settings.register_profile(
    "seeded",
    derandomize=True,
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=100_000,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "seeded"))


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """A session that nothing is started of; its children are recorded."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        places.RUN_FOLDER = Path(folder) / "run"
        made = Session(0, 1)
        yield made
        made.streams.end(0.0)
        places.RUN_FOLDER = None
        signal.set_wakeup_fd(-1)
