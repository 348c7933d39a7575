"""Pictures of images, masks, embeddings and detections."""
