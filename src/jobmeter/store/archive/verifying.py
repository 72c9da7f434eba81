"""Whether an archive file still is what was listed."""

from __future__ import annotations

from jobmeter.contract import StoreUnavailable
from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.ledger import ArchiveFile
from jobmeter.store.archive.writing import file_digest, read_content


def fault_of(archive: Archive, file: ArchiveFile) -> str | None:
    """What is wrong with the file, None when every byte and every record is as it was listed."""
    try:
        path = archive.locate(file)
        found = file_digest(path)
        if found != file.file_digest:
            return f"its SHA-256 is {found}, listed is {file.file_digest}"
        content, _ = read_content(archive.engine, path, file.layout)
    except (StoreUnavailable, OSError) as fault:
        return str(fault)
    if (content.rows, content.hexdigest) != (file.records, file.content_digest):
        return f"it gives back {content.rows} records of digest {content.hexdigest}, listed are {file.records}"
    return None
