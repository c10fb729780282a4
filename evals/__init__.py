"""Measures of how well embeddings agree with people, one question a file."""
