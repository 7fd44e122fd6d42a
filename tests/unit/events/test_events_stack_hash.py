"""Equal failures have equal hashes."""

from collections.abc import Callable

import pytest

from ingestion_runtime.documents import load_document
from ingestion_runtime.events.stack_hash import stack_hash
from ingestion_runtime.model.batch import Receipt
from ingestion_runtime.model.cursor import Watermark
from ingestion_runtime.state.sqlite import sqlite_store


def failure(action: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  any failure will do
        action()
    return caught.value


def test_messages_and_callers_outside_do_not_count() -> None:
    """The same failure of two tables is one failure."""
    one = failure(lambda: load_document(Receipt, "{", "table a"))
    other = failure(lambda: [load_document(Watermark, "[]", "table b") for _ in range(1)])
    assert stack_hash(one) == stack_hash(other)
    assert len(stack_hash(one)) == 12
    assert int(stack_hash(one), 16) >= 0


def test_another_way_through_the_package_is_another_failure() -> None:
    """The type alone would throw everything together."""
    one = failure(lambda: load_document(Receipt, "{", "table a"))
    other = failure(lambda: sqlite_store("/proc/nothing/here/state.db").open())
    assert type(one) is type(other)
    assert stack_hash(one) != stack_hash(other)


def test_causes_count() -> None:
    """What was wrapped tells failures of one wrapper apart."""
    plain, caused, again = ValueError("a"), ValueError("b"), ValueError("c")
    caused.__cause__, again.__cause__ = KeyError("x"), KeyError("y")
    assert stack_hash(plain) != stack_hash(caused) == stack_hash(again)


class JavaClass:
    def __init__(self, name: str) -> None:
        self._name = name

    def getName(self) -> str:  # noqa: N802  Java's spelling
        return self._name


class JavaThrowable:
    def __init__(self, name: str, cause: "JavaThrowable | None" = None) -> None:
        self._name, self._cause = name, cause

    def getClass(self) -> JavaClass:  # noqa: N802  Java's spelling
        if self._name == "gone":
            raise ConnectionError("the JVM has ended")
        return JavaClass(self._name)

    def getCause(self) -> "JavaThrowable | None":  # noqa: N802  Java's spelling
        return self._cause


@pytest.mark.parametrize("attribute", ["java_exception", "_origin"])
def test_java_classes_count_and_a_jvm_that_is_gone_does_no_harm(attribute: str) -> None:
    """Errors from a JVM all have one Python type; the Java classes tell them apart."""

    def error(java: JavaThrowable) -> BaseException:
        made = RuntimeError("from Java")
        setattr(made, attribute, java)
        return made

    spark = stack_hash(error(JavaThrowable("SparkException", JavaThrowable("PSQLException"))))
    assert spark == stack_hash(error(JavaThrowable("SparkException", JavaThrowable("PSQLException"))))
    assert spark != stack_hash(error(JavaThrowable("SparkException")))
    assert stack_hash(error(JavaThrowable("gone"))) == stack_hash(RuntimeError("other"))
