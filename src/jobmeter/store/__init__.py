"""Tables, migrations and statements of the record store, on SQLite and PostgreSQL."""
