"""The steps that bring a database from any earlier schema to the present one; run by `jobmeter.store.migrate`."""
