"""Images and annotations on their way into a model: order, reading, augmentation."""
