"""Instance colouring without boxes: `InstanceColoring` and its decoders."""
