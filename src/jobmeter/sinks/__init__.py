"""One file per output. A sink says what became of each item; it never retries and never queues."""
