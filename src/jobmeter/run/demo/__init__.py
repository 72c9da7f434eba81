"""The parts of the made-up facility."""
