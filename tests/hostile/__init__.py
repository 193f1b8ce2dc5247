"""Hostile files and failing disks: makers with seeds, and what runs them."""
