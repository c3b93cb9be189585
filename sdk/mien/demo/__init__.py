"""`mien demo`: two portraits go through every verb, and are shown on a sheet and a page."""
