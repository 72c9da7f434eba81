"""One file per job source: a cursor in, records, rejected entries and the next cursor out."""
