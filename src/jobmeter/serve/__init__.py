"""The REST server: application factory, routes, streaming. No SQL here."""
