"""SingleStore: the MySQL family's dialect, with what differs over the wire.

Its sessions cannot be set to another time zone (setting time_zone does nothing) nor to read-only transactions, it knows
READ COMMITTED only, and nothing waits for a lock longer than its own lock_wait_timeout says. It has no innodb_trx.
"""

from ingestion_runtime.endpoints.jdbc.dialects.mysql import MySQL

SINGLESTORE = MySQL(
    "singlestore",
    variables="sql_mode='',sql_select_limit=18446744073709551615",
    transactions=None,
    shows_transactions=False,
    spells_lines=False,
    freezes=False,
)
