"""The networks that come with mien, and the scripts that train them from pictures."""
