"""The commands beside `stylelab` itself, one module each."""
