"""What `jobmeter doctor` looks at."""
