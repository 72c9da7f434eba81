"""What pages show of records, totals, samples and publications, as values: pure functions of what stores answer."""
