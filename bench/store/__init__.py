"""What is kept: keys, schemas, fragments of rows, artifacts."""
