"""A small shop in SQLite, the same rows on every machine, and a day's worth of changes to it."""

import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

CUSTOMERS = 20_000
PRODUCTS = 2_000
STORES = 50
ORDERS = 60_000

OPENED = datetime(2026, 1, 1, tzinfo=UTC)
CLOSED = datetime(2026, 6, 20, 23, 59, 59, tzinfo=UTC)  # the newest cursor of every table before the changes
LATE_MINUTES = 30  # less than the lag of conf/demo.json, 3600 s

CITIES = ("Aachen", "Bergen", "Chur", "Delft", "Évora", "Faro", "Graz", "Łódź", "Malmö", "Nîmes", "Oulu", "Zürich")
FIRST = ("Ada", "Bo", "Chloé", "Dai", "Eva", "Finn", "Gül", "Hana", "Ivo", "Jörg", "Kim", "Lea", "Mia", "Noé", "Olga")
LAST = ("Arnold", "Brandt", "Costa", "Dahl", "Egger", "Fischer", "Grau", "Huber", "Iversen", "Jansen", "Keller", "Lund")
STATUSES = ("new", "paid", "shipped", "returned")

TABLES = """
CREATE TABLE customers (
  customer_id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, city TEXT,
  created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE products (
  product_id INTEGER PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2) NOT NULL, active BOOLEAN NOT NULL);
CREATE TABLE stores (store_id INTEGER PRIMARY KEY, name TEXT NOT NULL, opened DATE NOT NULL);
CREATE TABLE orders (
  order_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers, order_date DATE NOT NULL,
  status TEXT NOT NULL, total DECIMAL(12,2) NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE order_items (
  order_id INTEGER NOT NULL REFERENCES orders, line_no INTEGER NOT NULL,
  product_id INTEGER NOT NULL REFERENCES products, quantity INTEGER NOT NULL,
  unit_price DECIMAL(10,2) NOT NULL, changed_at INTEGER NOT NULL,
  PRIMARY KEY (order_id, line_no));
"""
INDEXES = """
CREATE INDEX customers_updated_at ON customers (updated_at);
CREATE INDEX orders_updated_at ON orders (updated_at);
CREATE INDEX order_items_changed_at ON order_items (changed_at);
"""

Row = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """How many rows ``change`` touched: those with a newer cursor, late ones, and products, which have no cursor."""

    updated: int
    inserted: int
    late: int
    prices: int


def create(path: Path) -> None:
    """Create the shop database. An existing file is an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise FileExistsError(path)
    dice = random.Random(20260101)  # noqa: S311 - the same rows everywhere is the point
    with closing(sqlite3.connect(path)) as shop:
        shop.execute("PRAGMA synchronous = OFF")  # a file that is not whole is made anew
        shop.executescript(TABLES)
        _insert(shop, "customers", 6, _customers(dice))
        _insert(shop, "products", 4, _products(dice))
        _insert(shop, "stores", 3, _stores(dice))
        _insert(shop, "orders", 6, _orders(dice))
        _insert(shop, "order_items", 6, _order_items(dice))
        shop.executescript(INDEXES)
        shop.commit()


def change(path: Path) -> Changes:
    """Change the shop as a day would: updates, inserts, orders that arrive late, and new prices."""
    dice = random.Random(20260621)  # noqa: S311
    with closing(sqlite3.connect(path)) as shop:
        watermark = _text_cursor(shop, "SELECT max(updated_at) FROM orders")
        now = watermark + timedelta(hours=6)
        updated = _update(shop, dice, now)
        inserted = _grow(shop, dice, now)
        late = _insert_orders(shop, dice, [watermark - timedelta(seconds=60 * LATE_MINUTES * n / 40) for n in range(40)])
        prices = _change_prices(shop, dice)
        shop.commit()
    return Changes(updated, inserted, len(late), prices)


def _customers(dice: random.Random) -> Iterator[Row]:
    for number in range(1, CUSTOMERS + 1):
        created = _moment(dice, OPENED)
        updated = CLOSED if number == CUSTOMERS else _moment(dice, created)
        yield _customer(dice, number, created, updated)


def _customer(dice: random.Random, number: int, created: datetime, updated: datetime) -> Row:
    name = f"{dice.choice(FIRST)} {dice.choice(LAST)}"
    email = None if number % 10 == 0 else f"customer{number}@shop.example"  # some never told
    return number, name, email, dice.choice(CITIES), _text(created), _text(updated)


def _products(dice: random.Random) -> Iterator[Row]:
    for number in range(1, PRODUCTS + 1):
        yield number, f"Product {number:04}", _money(dice, 20_000), int(number % 10 != 0)


def _stores(dice: random.Random) -> Iterator[Row]:
    for number in range(1, STORES + 1):
        yield (
            number,
            f"Store {CITIES[number % len(CITIES)]} {number}",
            str(date(2015 + number % 10, 1, dice.randint(1, 28))),
        )


def _orders(dice: random.Random) -> Iterator[Row]:
    for number in range(1, ORDERS + 1):
        ordered = _moment(dice, OPENED)
        updated = CLOSED if number == ORDERS else _moment(dice, ordered)
        yield _order(dice, number, ordered, updated)


def _order(dice: random.Random, number: int, ordered: datetime, updated: datetime) -> Row:
    customer = dice.randint(1, CUSTOMERS)
    return number, customer, str(ordered.date()), dice.choice(STATUSES), _money(dice, 100_000), _text(updated)


def _order_items(dice: random.Random) -> Iterator[Row]:
    """One, two or three lines an order: two on average."""
    for order in range(1, ORDERS + 1):
        for line in range(1, 2 + order % 3):
            yield _item(dice, order, line, CLOSED if order == ORDERS else _moment(dice, OPENED))


def _item(dice: random.Random, order: int, line: int, changed: datetime) -> Row:
    return order, line, dice.randint(1, PRODUCTS), dice.randint(1, 9), _money(dice, 20_000), int(changed.timestamp())


def _update(shop: sqlite3.Connection, dice: random.Random, now: datetime) -> int:
    """150 customers, 250 orders and 100 order items, each with a newer cursor."""
    moments = [now + timedelta(seconds=n) for n in range(500)]
    customers = dice.sample(range(1, CUSTOMERS + 1), 150)
    shop.executemany(
        "UPDATE customers SET city = ?, updated_at = ? WHERE customer_id = ?",
        [(dice.choice(CITIES), _text(at), number) for number, at in zip(customers, moments[:150], strict=True)],
    )
    orders = dice.sample(range(1, ORDERS + 1), 250)
    shop.executemany(
        "UPDATE orders SET status = 'returned', updated_at = ? WHERE order_id = ?",
        [(_text(at), number) for number, at in zip(orders, moments[150:400], strict=True)],
    )
    items = dice.sample(range(1, ORDERS + 1), 100)
    shop.executemany(
        "UPDATE order_items SET quantity = quantity + 1, changed_at = ? WHERE order_id = ? AND line_no = 1",
        [(int(at.timestamp()), number) for number, at in zip(items, moments[400:], strict=True)],
    )
    return len(customers) + len(orders) + len(items)


def _grow(shop: sqlite3.Connection, dice: random.Random, now: datetime) -> int:
    """50 customers, 100 orders and 150 order items."""
    first = _number(shop, "SELECT max(customer_id) + 1 FROM customers")
    customers = [_customer(dice, first + n, now, now + timedelta(seconds=n)) for n in range(50)]
    _insert(shop, "customers", 6, customers)
    orders = _insert_orders(shop, dice, [now + timedelta(seconds=500 + n) for n in range(100)])
    places = [(order, 1) for order in orders] + [(order, 2) for order in orders[:50]]
    items = [_item(dice, order, line, now + timedelta(seconds=600 + n)) for n, (order, line) in enumerate(places)]
    _insert(shop, "order_items", 6, items)
    return len(customers) + len(orders) + len(items)


def _insert_orders(shop: sqlite3.Connection, dice: random.Random, moments: list[datetime]) -> list[int]:
    first = _number(shop, "SELECT max(order_id) + 1 FROM orders")
    _insert(shop, "orders", 6, [_order(dice, first + n, at, at) for n, at in enumerate(moments)])
    return list(range(first, first + len(moments)))


def _change_prices(shop: sqlite3.Connection, dice: random.Random) -> int:
    products = dice.sample(range(1, PRODUCTS + 1), 100)
    shop.executemany(
        "UPDATE products SET price = round(price * 1.1, 2), active = 1 - active WHERE product_id = ?",
        [(number,) for number in products],
    )
    return len(products)


def _insert(shop: sqlite3.Connection, table: str, columns: int, rows: Iterable[Row]) -> None:
    shop.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)


def _moment(dice: random.Random, earliest: datetime) -> datetime:
    """A second between ``earliest`` and just before the newest cursor."""
    span = int((CLOSED - earliest).total_seconds())
    return earliest + timedelta(seconds=int(dice.random() * span))


def _money(dice: random.Random, most_cents: int) -> str:
    cents = 1 + int(dice.random() * most_cents)
    return f"{cents // 100}.{cents % 100:02}"


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _text_cursor(shop: sqlite3.Connection, query: str) -> datetime:
    (text,) = shop.execute(query).fetchone()
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _number(shop: sqlite3.Connection, query: str) -> int:
    (number,) = shop.execute(query).fetchone()
    return int(number)
