"""Usage records as GRACC takes them."""
