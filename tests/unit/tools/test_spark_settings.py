"""Which settings a session gets: by the master, and with the configuration's own where they are its business."""

import pytest

from ingestion_runtime.model.spec import RuntimeSpec, SparkSpec, StagingSpec
from ingestion_runtime.tools.spark import session_conf


def settings(master: str, *conf: tuple[str, str]) -> dict[str, str]:
    """What a JVM with this master is started with."""
    return dict(
        session_conf(RuntimeSpec("job", "", "", "UTC", None, StagingSpec(""), "", spark=SparkSpec(master, "1g", conf)))
    )


@pytest.mark.parametrize("master", ["local", "local[2]", "local[*]", "spark://127.0.0.1:7077", "spark://localhost:7077"])
def test_a_driver_for_this_host_listens_on_loopback(master: str) -> None:
    """Nobody else has to reach it."""
    found = settings(master)

    assert (found["spark.driver.host"], found["spark.driver.bindAddress"]) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize("master", ["spark://master.example.com:7077", "spark://10.0.0.7:7077", "yarn", "k8s://https://h:1"])
def test_a_driver_for_other_hosts_can_be_reached_by_them(master: str) -> None:
    """Spark finds the address, or the configuration names it."""
    assert "spark.driver.host" not in settings(master)
    assert settings(master, ("spark.driver.host", "10.0.0.1"))["spark.driver.host"] == "10.0.0.1"


def test_settings_of_executors_pass_through() -> None:
    """They are the cluster's business."""
    assert settings("spark://m:1", ("spark.executor.memory", "4g"))["spark.executor.memory"] == "4g"
