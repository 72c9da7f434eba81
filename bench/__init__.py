"""Measurements of the figures that jobmeter promises, on the machine at hand."""
