"""Adsorbates on metal slabs, with forces of our own."""
