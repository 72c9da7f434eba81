"""The real Colmet beside us: its node before our gatherer, its collector behind our node."""
