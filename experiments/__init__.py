"""What produced the numbers and pictures of the documents. Not installed: it runs in a clone."""
