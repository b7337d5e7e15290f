"""Published adsorbates on catalysts, with forces."""
