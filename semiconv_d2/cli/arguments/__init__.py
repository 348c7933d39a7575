"""Arguments of the commands that have many."""
