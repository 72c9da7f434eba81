"""The actions of `jobmeter records`."""
