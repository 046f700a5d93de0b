"""Engines behind one seam: `base.py` says what a measurement may ask of one."""
