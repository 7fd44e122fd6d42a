"""What the errors of MySQL, MariaDB and SingleStore mean, by their numbers."""

import ssl

from ingestion_runtime.endpoints.jdbc.dialect import Fault
from ingestion_runtime.model.errors import ConfigError, IngestionError, OversizedReadError, TerminalError, TransientError

_LOGIN = "Check user, password reference and tls of this connection, and from where the server lets that user in."
_GRANT = "Grant the connection's user SELECT on it."
_NAMES = "Check schema and table, or query_sql, against the source."
_COLUMNS = "Check the column names in the configuration against the source. If it was altered just now, run again."
_SQL = "Check source_filter and query_sql of this table."
_REACH = "Check that the server runs and is reachable, then run the same command again."
_AGAIN = "The source was busy with conflicting work; run the same command again."
_SHORT = "The server is short of disk, memory or connections; run the same command again later."
_TIMEOUT = "Raise max_statement_time (MySQL: max_execution_time) for this user, or add an index on the cursor."
_ENDED = "The server ended the query or the connection; run the same command again."

_MEANING: tuple[tuple[type[IngestionError], str, tuple[int, ...]], ...] = (
    (ConfigError, _LOGIN, (1045, 1130, 1251, 1524, 1698, 1862, 2026, 2049, 2059, 2061, 3118, 3159, 4151)),
    (ConfigError, "Check database of this connection.", (1049,)),
    (ConfigError, "Grant the connection's user access to the database, or check database of this connection.", (1044,)),
    (TerminalError, _GRANT, (1142, 1143, 1227, 1345, 1370)),
    (TerminalError, _NAMES, (1051, 1109, 1146, 1356)),
    (TerminalError, _COLUMNS, (1052, 1054)),
    (TerminalError, _SQL, (1055, 1056, 1064, 1111, 1140, 1149, 1222, 1241, 1242, 1267, 1305, 1582, 1630)),
    (
        TerminalError,
        "Raise max_allowed_packet at the source above its longest value.",
        (1153, 1301, 2020),
    ),
    (TransientError, _SHORT, (1021, 1028, 1037, 1038, 1040, 1041, 1114, 1135, 1203, 1226)),
    (TransientError, _AGAIN, (1205, 1213, 1412, 1614, 1615, 3572)),
    (TransientError, _ENDED, (1053, 1078, 1079, 1080, 1184, 1317, 1907, 1927, 4031)),
    (OversizedReadError, _TIMEOUT, (1969, 3024)),
    (TransientError, _REACH, (1129, 1152, 1158, 1159, 1160, 1161, 2002, 2003, 2005, 2006, 2013, 2014, 2055)),
)
_BY_CODE = {code: (kind, remedy) for kind, remedy, codes in _MEANING for code in codes}
_BY_STATE: tuple[tuple[str, type[IngestionError], str], ...] = (
    ("28", ConfigError, _LOGIN),
    ("08", TransientError, _REACH),
    ("40", TransientError, _AGAIN),
    ("70100", TransientError, _ENDED),
    ("42S02", TerminalError, _NAMES),
    ("42S22", TerminalError, _COLUMNS),
)
_TLS = 2026
_CLOSED = 2006  # the driver's own word for a connection that is gone has no number


def fault_of(error: BaseException) -> Fault | None:
    """Return an error of the Python driver as data; None when it is not one of its errors."""
    import pymysql  # validating a configuration must not load a driver

    if not isinstance(error, pymysql.Error):
        return None
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if isinstance(getattr(error, "original_exception", None), ssl.SSLError):
        code = _TLS  # told as a server that cannot be reached, but no second try will help
    text = " ".join(str(part) for part in error.args[1:] if part) or " ".join(str(error).split())
    if code == 0 and isinstance(error, pymysql.InterfaceError):
        return Fault("08003", _CLOSED, "The connection is closed" if text in ("", "(0, '')") else text)
    return Fault(None, code, " ".join(text.split()))


def advice(fault: Fault) -> tuple[type[IngestionError], str]:
    """Return the kind of error that a fault is, and what to do about it."""
    if fault.code in _BY_CODE:
        return _BY_CODE[fault.code]
    for prefix, kind, remedy in _BY_STATE:
        if (fault.state or "").startswith(prefix):
            return kind, remedy
    return TerminalError, "Check the table's settings against the source; the server's log may say more."
