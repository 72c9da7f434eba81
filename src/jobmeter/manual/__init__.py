"""The documentation: Markdown in; pages, contents, faults and found words out. Knows no server and no store."""
