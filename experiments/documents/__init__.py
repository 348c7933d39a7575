"""Pictures and tables of the documents."""
