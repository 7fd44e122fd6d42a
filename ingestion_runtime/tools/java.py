"""Is there a Java that Spark can run on? Asked before a plan that needs Spark has any effect."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from ingestion_runtime.model.errors import ConfigError

OLDEST_MAJOR = 17
# Spark 4.1 always starts its JVM with this module; some small runtimes are built without it and die at start.
NEEDED_MODULE = "jdk.incubator.vector"
TIMEOUT_SECONDS = 15.0
REMEDY = (
    "Install a Java 17 or 21 (Debian and Ubuntu: apt-get install openjdk-17-jre-headless; "
    "elsewhere a full JDK 17 or 21) and let JAVA_HOME or PATH point at it."
)


def require_java(timeout_seconds: float = TIMEOUT_SECONDS) -> Path:
    """Return the java that Spark will start; raise ConfigError when there is none or Spark cannot use it."""
    java = _find()
    code, output = _run(java, ["--add-modules", NEEDED_MODULE, "-version"], timeout_seconds)
    if code == 0:
        major = _major(output)
        if major is None:
            raise ConfigError(f"{java} did not tell its version.", remedy=REMEDY, java=str(java), output=output)
        if major >= OLDEST_MAJOR:
            return java
    else:
        # Java 8 does not know the option, so the version has to be asked for without it.
        major = _major(_run(java, ["-version"], timeout_seconds)[1])
    raise _refusal(java, major, output)


def _refusal(java: Path, major: int | None, output: str) -> ConfigError:
    if major is None:
        found = f"{java} does not run: {_last_line(output)}."
    elif major < OLDEST_MAJOR:
        found = f"{java} is Java {major}; Spark needs {OLDEST_MAJOR} or newer."
    elif NEEDED_MODULE in output:
        found = f"{java} is Java {major}, but lacks the module {NEEDED_MODULE} that Spark needs."
    else:
        found = f"{java} is Java {major}, but does not start: {_last_line(output)}."
    return ConfigError(found, remedy=REMEDY, java=str(java), major=major)


def _find() -> Path:
    """Look where Spark's own launcher looks: JAVA_HOME when it is set, else PATH."""
    home = os.environ.get("JAVA_HOME")
    if home:
        java = Path(home, "bin", "java")
        if not os.access(java, os.X_OK) or java.is_dir():
            raise ConfigError(f"JAVA_HOME is {home}, but there is no program bin/java in it.", remedy=REMEDY)
        return java
    found = shutil.which("java")
    if found is None:
        raise ConfigError("No java was found: JAVA_HOME is not set and PATH has none.", remedy=REMEDY)
    return Path(found)


def _run(java: Path, arguments: list[str], timeout_seconds: float) -> tuple[int, str]:
    """Exit code and output. Java reports its version on stderr and start errors on stdout."""
    try:
        done = subprocess.run(  # the program that the user named as Java
            [str(java), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{java} did not answer within {timeout_seconds:g} s.", remedy=REMEDY) from error
    except OSError as error:
        raise ConfigError(f"{java} cannot be started: {error.strerror}.", remedy=REMEDY) from error
    return done.returncode, done.stderr + done.stdout


def _major(output: str) -> int | None:
    """17 from ``openjdk version "17.0.15"``; 8 from ``java version "1.8.0_402"``."""
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(match.group(1)) if match else None


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it prints nothing"
