"""Cities in a table: written, counted and read again. DATABASE_URL says where."""

import os
from contextlib import closing

import psycopg2
from psycopg2 import extensions
from psycopg2.extras import execute_values

CITIES = [("Lima", -12.05), ("Oslo", 59.91), ("Zürich", 47.37)]


def main() -> None:
    """Write, read, and say with which libpq."""
    with closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE city (name text PRIMARY KEY, latitude float8)")
        execute_values(cursor, "INSERT INTO city VALUES %s", CITIES)
        cursor.execute("SELECT name FROM city WHERE latitude > %s ORDER BY name", (0,))
        names = [name for (name,) in cursor.fetchall()]
        server = connection.server_version // 10000
    print(f"{', '.join(names)}; libpq {extensions.libpq_version() // 10000}, server {server}")
