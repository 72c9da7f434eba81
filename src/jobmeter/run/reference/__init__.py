"""The reference pages, made from what commands, settings and operations declare; and the site of all pages."""
