"""What is learned before labels: one file a pretext task."""
