"""Encodings of model values, one file a format: bytes in, values out, and back. No sockets."""
