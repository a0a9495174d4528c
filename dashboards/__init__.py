"""The dashboard: what the results say, in a browser."""
