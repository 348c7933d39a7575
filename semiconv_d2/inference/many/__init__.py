"""Many images: what is done stays done, and several processes or machines share the work."""
