"""`mien demo`: two portraits are aligned, projected and mixed, and shown on a sheet and a page."""
