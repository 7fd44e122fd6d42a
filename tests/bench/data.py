"""The data of the bench, as SQL for PostgreSQL: every value follows from the row's number and one seed.

``lineitem`` has the columns of TPC-H and ``updated_at``. The first N rows of a larger table are the table of N rows.
"""

SEED = 42
MIX = 7_368_787  # a prime above 2: every N that it does not divide is walked through once by k * MIX mod N
SMALL_ROWS = 10_000
SMALL_COLUMNS = 12
CHANGED_AFTER = "2024-06-01 00:00:00"  # later than the cursor of any row as it was generated

LINEITEM = """CREATE UNLOGGED TABLE {name} (
  l_orderkey bigint NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL, l_linenumber int NOT NULL,
  l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
  l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
  l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
  l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44),
  updated_at timestamp NOT NULL)"""

KEYS = ("l_orderkey", "l_linenumber")
CURSOR = "updated_at"
# How an independent reader knows the columns, and how a database without PostgreSQL's spelling declares them.
COLUMNS = {
    "l_orderkey": "BIGINT",
    "l_partkey": "INTEGER",
    "l_suppkey": "INTEGER",
    "l_linenumber": "INTEGER",
    "l_quantity": "DECIMAL(15,2)",
    "l_extendedprice": "DECIMAL(15,2)",
    "l_discount": "DECIMAL(15,2)",
    "l_tax": "DECIMAL(15,2)",
    "l_returnflag": "VARCHAR",
    "l_linestatus": "VARCHAR",
    "l_shipdate": "DATE",
    "l_commitdate": "DATE",
    "l_receiptdate": "DATE",
    "l_shipinstruct": "VARCHAR",
    "l_shipmode": "VARCHAR",
    "l_comment": "VARCHAR",
    "updated_at": "TIMESTAMP",
}
# SQLite has one kind of integer, of 64 bits.
SQLITE_COLUMNS = {name: "BIGINT" if kind == "INTEGER" else kind for name, kind in COLUMNS.items()}
SMALL = {
    "id": "BIGINT",
    "customer_id": "BIGINT",
    "kind": "INTEGER",
    "quantity": "INTEGER",
    "price": "DECIMAL(12,2)",
    "weight": "DOUBLE",
    "active": "BOOLEAN",
    "code": "VARCHAR",
    "name": "VARCHAR",
    "note": "VARCHAR",
    "ordered_on": "DATE",
    "updated_at": "TIMESTAMP",
}

_WORDS = ["carefully", "furiously", "quickly", "slyly", "express", "regular", "final", "pending", "ironic", "even", "silent"]
_WORDS += ["unusual", "daring", "deposits", "accounts", "packages", "requests", "foxes", "theodolites", "pinto beans"]
_WORDS += ["platelets", "asymptotes", "courts", "dolphins", "multipliers", "sauternes", "warthogs", "frets"]


def _array(words: list[str]) -> str:
    return "(ARRAY[" + ",".join(f"'{word}'" for word in words) + "])"


def _pick(words: list[str], shift: int) -> str:
    return f"{_array(words)}[1 + ((h >> {shift}) & 1048575) % {len(words)}]"


def _lineitem_row(updated_at: str) -> str:
    """The row of number ``g`` with the hashes ``h`` and ``i``; all hashes are below 2 to the 60th."""
    flags, states = _pick(["A", "N", "R"], 7), _pick(["F", "O"], 11)
    ways = _pick(["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"], 13)
    orders = _pick(["COLLECT COD", "DELIVER IN PERSON", "NONE", "TAKE BACK RETURN"], 17)
    comment = " || ' ' || ".join(_pick(_WORDS, shift) for shift in (3, 19, 29))
    return (
        "(g - 1) / 4 + 1, 1 + i % 200000, 1 + (i >> 20) % 10000, (g - 1) % 4 + 1, "
        "1 + h % 50, (90000 + (i >> 5) % 10404950) / 100.0, (h >> 9) % 11 / 100.0, (h >> 15) % 9 / 100.0, "
        f"{flags}, {states}, DATE '1992-01-02' + (h % 2526)::int, DATE '1992-01-31' + ((i >> 7) % 2466)::int, "
        f"DATE '1992-01-03' + ((h % 2526) + (i % 30))::int, {orders}, {ways}, {comment}, {updated_at}"
    )


def _hashed(numbers: str) -> str:
    mask = "1152921504606846975"
    return (
        f"(SELECT g, hashint8extended(g, {SEED}) & {mask} AS h, hashint8extended(g, {SEED + 1}) & {mask} AS i"
        f" FROM {numbers} OFFSET 0) n"
    )


def lineitem(name: str, low: int, high: int) -> str:
    """Insert the rows number ``low`` to ``high``; several of these may run side by side."""
    cursor = "TIMESTAMP '2024-01-01' + g * INTERVAL '0.001003 seconds'"
    return f"INSERT INTO {name} SELECT {_lineitem_row(cursor)} FROM {_hashed(f'generate_series({low}::bigint, {high}) g')};"


def create_lineitem(name: str) -> str:
    """Create the table without rows and without key."""
    return LINEITEM.format(name=name) + ";"


def finish(name: str, keys: tuple[str, ...]) -> str:
    """Add the key and tidy up, so that no competitor meets work that another one did not."""
    return f"ALTER TABLE {name} ADD PRIMARY KEY ({', '.join(keys)});\nVACUUM (FREEZE, ANALYZE) {name};"


def changes(name: str, rows: int, changed: int) -> str:
    """Change ``changed`` rows of a table of ``rows``: nine tenths of them updates at keys all over it, the others new."""
    updated, new = changed * 9 // 10, changed - changed * 9 // 10
    moved = f"TIMESTAMP '{CHANGED_AFTER}' + (k + 1) * INTERVAL '0.001003 seconds'"
    scattered = f"SELECT 1 + (k * {MIX}) % {rows} AS g, k FROM generate_series(1::bigint, {updated}) k"
    fresh = f"TIMESTAMP '{CHANGED_AFTER}' + ({updated} + g) * INTERVAL '0.001003 seconds'"
    numbers = f"generate_series({rows + 1}::bigint, {rows + new}) g"
    return (
        f"UPDATE {name} t SET l_quantity = t.l_quantity + 1, l_extendedprice = t.l_extendedprice + 0.01, "
        f"l_comment = left('changed ' || t.l_comment, 44), updated_at = {moved} FROM ({scattered}) c "
        "WHERE t.l_orderkey = (c.g - 1) / 4 + 1 AND t.l_linenumber = (c.g - 1) % 4 + 1;\n"
        f"INSERT INTO {name} SELECT {_lineitem_row(fresh)} FROM {_hashed(numbers)};\nVACUUM ANALYZE {name};"
    )


def small(name: str, number: int) -> str:
    """Create one of the many small tables; they differ in their values."""
    words = _pick(_WORDS, 5)
    numbers = f"(SELECT {number}::bigint * 1000000 + k AS g FROM generate_series(1, {SMALL_ROWS}) k) s"
    return (
        f"CREATE UNLOGGED TABLE {name} (id bigint PRIMARY KEY, customer_id bigint, kind int, quantity int, "
        "price numeric(12,2), weight double precision, active boolean, code varchar(12), name text, note text, "
        "ordered_on date, updated_at timestamp NOT NULL);\n"
        f"INSERT INTO {name} SELECT g, h % 100000, h % 7, 1 + i % 50, (i % 10000000) / 100.0, (h % 1000000) / 7.0::float8, "
        f"h % 3 = 0, 'C-' || i % 1000000, {words} || ' ' || h % 1000, CASE WHEN h % 5 > 0 THEN {words} END, "
        f"DATE '2020-01-01' + (h % 1500)::int, TIMESTAMP '2024-01-01' + (g % 1000000) * INTERVAL '1.000003 seconds' "
        f"FROM {_hashed(numbers)};"
    )


def small_name(number: int) -> str:
    """The name of a small table."""
    return f"small_{number:03d}"
