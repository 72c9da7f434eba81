"""What `jobmeter samples` reads and how it shows it."""
