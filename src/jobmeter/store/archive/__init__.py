"""The archive: months of records in Parquet files, written, verified, asked and taken back in place.

A record is in `records` or in one archive file, never in both: it changes sides in one transaction of the database.
Files are never changed once they are listed in `archive_files`.
"""
