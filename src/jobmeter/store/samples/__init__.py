"""The sample store: an append log, sealed segments and rollups in one folder. Its layout: docs/sample-store.md."""
