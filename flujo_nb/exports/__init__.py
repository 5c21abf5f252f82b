"""Sessions and pipelines written into files."""
