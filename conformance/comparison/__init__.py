"""Two specs or variants side by side: what the command ``compare`` tells."""
