"""Reading the database of an AUDITOR server into our record store, and comparing both. Never writes to the source."""
