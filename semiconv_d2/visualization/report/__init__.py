"""The report of one or several runs: a page, its charts, and its gallery of images."""
