"""Kafka's jars: fetched once from Maven's repository by Maven, which checks their checksums, and kept in a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sentinel.child import last_lines
from sentinel.services.base import ServiceUnavailable

KAFKA_VERSION = "4.2.0"
SLF4J_VERSION = "1.7.36"  # of the API that this Kafka is built against
FETCH_TIMEOUT_SECONDS = 600
POM = f"""<project><modelVersion>4.0.0</modelVersion>
<groupId>sentinel</groupId><artifactId>kafka</artifactId><version>{KAFKA_VERSION}</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>{SLF4J_VERSION}</version></dependency>
</dependencies></project>
"""


def cache_directory() -> Path:
    """Return where the jars are kept, whether they are there or not."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sentinel" / f"kafka-{KAFKA_VERSION}"


def ensure_jars() -> Path:
    """Return the directory of the jars, fetching them at first use (43 MB); raise `ServiceUnavailable` if that fails."""
    jars = cache_directory()
    if not jars.is_dir():
        _fetch(jars)
    return jars


def _fetch(jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceUnavailable(
            "Maven is needed once, to fetch Kafka", hint="install the package maven, or set SENTINEL_BROKERS"
        )
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix=".kafka-") as work:
        _run_maven(maven, Path(work))
        try:
            # Complete or not there; whoever comes second in a race finds the place taken and needs nothing more.
            (Path(work) / "jars").rename(jars)
        except OSError:
            if not jars.is_dir():
                raise


def _run_maven(maven: str, work: Path) -> None:
    (work / "pom.xml").write_text(POM, encoding="utf-8")
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={work / 'jars'}")
    log = work / "maven.log"
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                [maven, "--batch-mode", "--quiet", "--color=never", "--strict-checksums", *goal],
                check=False,
                cwd=work,
                # Java asks the user database for the home directory; everything else here asks HOME.
                env={**os.environ, "MAVEN_OPTS": f"{os.environ.get('MAVEN_OPTS', '')} -Duser.home={Path.home()}"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=FETCH_TIMEOUT_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    if code or not any((work / "jars").glob("kafka_*.jar")):
        raise ServiceUnavailable(
            f"Maven could not fetch Kafka: {_first_error(log)}",
            hint="check the network and Maven's settings.xml, or set SENTINEL_BROKERS",
        )


def _first_error(log: Path) -> str:
    """Return Maven's first error; what follows it is advice about Maven."""
    lines = last_lines(log, 100)
    errors = [line.removeprefix("[ERROR]").strip() for line in lines if line.startswith("[ERROR]")]
    return (errors or lines or ["no answer"])[0][:300]
