"""The pages: a file and a template each, found by being there. What a page declares: `jobmeter.serve.web.page`."""
