"""The code behind the numbers and pictures of the documents. It is not installed; run it in a
clone."""
