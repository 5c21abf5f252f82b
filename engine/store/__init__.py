"""Where runs are kept, and how their values are written."""
