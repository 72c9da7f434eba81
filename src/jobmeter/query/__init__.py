"""The filter language: a query string becomes a question with a mandatory scope."""
