"""A first configuration for a database, from its catalog and a bounded look at its rows: keys, cursors and modes."""
