"""What differs between two frames, part by part."""
