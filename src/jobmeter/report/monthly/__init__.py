"""A month for those who pay: core hours, efficiency, energy and their course, on one page."""
