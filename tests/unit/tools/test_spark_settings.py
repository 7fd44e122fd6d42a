"""Which settings a session gets: by the master, and with the configuration's own where they are its business."""

import shlex
from pathlib import Path

import pytest

from ingestion_runtime.model.spec import RuntimeSpec, SparkSpec, StagingSpec
from ingestion_runtime.tools.spark import session_conf
from ingestion_runtime.tools.spark_jvm import SparkSettings, jvm_conf

JAVA = Path("/usr/lib/jvm/java/bin/java")


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


def driver_options(*conf: tuple[str, str]) -> list[str]:
    """The options that the driver's JVM gets behind its defaults, where class data would fit."""
    settings = SparkSettings(
        "job", conf, (), lambda: JAVA, lambda: (), Path("spark.log"), lambda: (), lambda _java, _jars: ("-XX:Class Data",)
    )
    return shlex.split(jvm_conf(settings, JAVA, (), Path("/a b/x")).get("spark.driver.extraJavaOptions") or "")


def test_options_of_the_configuration_stand_before_those_that_decide_what_arrives() -> None:
    """The last one wins: drivers of databases spell times in the JVM's own zone."""
    options = driver_options(("spark.driver.extraJavaOptions", "-Dmine=1 -Duser.timezone=Asia/Tokyo"))

    assert options[:2] == ["-Dmine=1", "-Duser.timezone=Asia/Tokyo"]
    assert [option for option in options if "timezone" in option][-1] == "-Duser.timezone=UTC"


def test_an_option_with_a_blank_stays_one() -> None:
    """A cache may lie in a directory with a blank in its name, and so may a folder for what is put aside."""
    assert {"-XX:Class Data", "-Djava.io.tmpdir=/a b/x"} <= set(driver_options())


@pytest.mark.parametrize("key", ["spark.driver.extraJavaOptions", "spark.driver.defaultJavaOptions"])
def test_who_chooses_a_folder_for_what_is_put_aside_keeps_it(key: str) -> None:
    """Native libraries are loaded from there: it may be the one place that lets them run."""
    options = driver_options((key, "-Djava.io.tmpdir=/big"))

    assert "-Djava.io.tmpdir=/a b/x" not in options


@pytest.mark.parametrize("key", ["spark.driver.extraJavaOptions", "spark.driver.defaultJavaOptions"])
@pytest.mark.parametrize("chosen", ["-Xshare:off", "-XX:SharedArchiveFile=/a.jsa", "-XX:ArchiveClassesAtExit=/a.jsa"])
def test_who_chooses_an_archive_keeps_it(key: str, chosen: str) -> None:
    """Two of them would contradict each other."""
    assert "-XX:Class Data" not in driver_options((key, chosen))
